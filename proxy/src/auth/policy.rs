//! The chain of methods under one set of settings.

use std::sync::Arc;

use http::Uri;
use tokio::runtime::Handle;

use super::{
    Action, AuthSetupError, Grant,
    cache::{Now, Verdict},
    claims::{Claims, Rules},
    failure::Failure,
    jwks::Source,
    keys::{KeySet, Search, VerifyKey},
    metrics::Metrics,
    token::{Jws, Token},
    webhook::Webhook,
};
use crate::{
    config::auth::{Algorithm, Auth, JwtVerifier, Method, cross_problems},
    topic::TopicName,
};

/// Everything that a verdict depends on, replaced as a whole when settings change.
#[derive(Debug)]
pub(crate) struct Policy {
    order: Vec<Method>,
    rules: Arc<Rules>,
    local: KeySet,
    sources: Vec<Arc<Source>>,
    webhook: Option<Arc<Webhook>>,
}

// === impl Policy ===

impl Policy {
    /// Loads what the settings name. `former` gives what is still right of what it knows, and is not changed
    /// on an error.
    pub(crate) fn new(
        jwt: &JwtVerifier,
        auth: &Auth,
        required: bool,
        metrics: &Arc<Metrics>,
        former: Option<&Self>,
    ) -> Result<Self, AuthSetupError> {
        check(jwt, auth, required)?;
        let rules = Arc::new(Rules::new(auth));
        let local = KeySet::load(&auth.keys)?;
        let former_webhook = former.and_then(|former| former.webhook.as_deref());
        let webhook = match jwt.webhook_url.as_deref().and_then(|url| url.parse::<Uri>().ok()) {
            Some(url) => Some(Arc::new(Webhook::new(jwt, url, rules.clone(), metrics, former_webhook)?)),
            None => None,
        };
        let sources = sources(auth, metrics, former)?;
        // Nothing can fail from here on, so what is shared with the former policy may change.
        if let Some(webhook) = &webhook {
            webhook.take_effect();
        }
        Ok(Self { order: auth.order.clone(), rules, local, sources, webhook })
    }

    /// Remembers fewer of the webhook's verdicts while memory is short.
    pub(crate) fn shrink(&self, short: bool) {
        if let Some(webhook) = &self.webhook {
            webhook.shrink(short);
        }
    }

    /// Judges a token.
    pub(crate) async fn judge(&self, raw: &str, topic: &TopicName, action: Action) -> Verdict {
        let token = Token::parse(raw)?;
        let mut failure = if token.jws.is_some() { Failure::UnknownKey } else { Failure::Malformed };
        // A method that could not look makes a no of the others uncertain.
        let mut blind = None;
        for method in &self.order {
            let Some(jws) = token.jws.as_ref().filter(|_| *method != Method::Webhook) else {
                match self.ask(*method, &token, topic, action).await {
                    Some(Err(no)) if no.is_verdict() => return Err(blind.unwrap_or(no)),
                    Some(verdict) => return verdict,
                    None => continue,
                }
            };
            let search = match method {
                Method::Jwks => self.search_sources(jws, &mut blind).await,
                _ => self.local.search(jws),
            };
            match search {
                Search::Verified(key) => return self.grant(jws, &key, topic, action),
                Search::Refused(no) => return Err(no),
                // That a signature was wrong says more than that no key fits.
                Search::Unknown(Failure::UnknownKey) => {}
                Search::Unknown(no) => failure = no,
            }
        }
        Err(blind.unwrap_or(failure))
    }

    /// Whose a request is where no token is needed: the subject and expiry of a token that a key at hand
    /// verifies, else nobody's.
    pub(crate) fn identify(&self, raw: Option<&str>) -> Grant {
        raw.and_then(|raw| self.try_identify(raw)).unwrap_or_default()
    }

    fn try_identify(&self, raw: &str) -> Option<Grant> {
        let jws = Token::parse(raw).ok()?.jws?;
        let published = self.sources.iter().map(|source| source.search(&jws));
        let key =
            std::iter::once(self.local.search(&jws)).chain(published).find_map(|search| match search {
                Search::Verified(key) => Some(key),
                _ => None,
            })?;
        let (claims, now) = self.checked_claims(&jws, &key).ok()?;
        Some(claims.into_grant(&self.rules, key.kid.as_deref(), now))
    }

    /// What a token under this key grants.
    fn grant(&self, jws: &Jws<'_>, key: &VerifyKey, topic: &TopicName, action: Action) -> Verdict {
        let (claims, now) = self.checked_claims(jws, key)?;
        claims.permit(&self.rules, action, topic)?;
        Ok(claims.into_grant(&self.rules, key.kid.as_deref(), now))
    }

    /// The claims of a token that the key verified, and the time that they were checked for.
    fn checked_claims(&self, jws: &Jws<'_>, key: &VerifyKey) -> Result<(Claims, u64), Failure> {
        let (claims, now) = (jws.claims()?, Now::read().unix);
        claims.check(&self.rules, key.issuer.as_deref(), now)?;
        Ok((claims, now))
    }

    /// The webhook's verdict, if it is the webhook's turn and there is one.
    async fn ask(
        &self,
        method: Method,
        token: &Token<'_>,
        topic: &TopicName,
        action: Action,
    ) -> Option<Verdict> {
        let webhook = self.webhook.as_ref().filter(|_| method == Method::Webhook)?;
        Some(webhook.verdict(token, topic, action).await)
    }

    /// Looks for the key in all sets; if none has it, once more after those were fetched again that may be.
    async fn search_sources(&self, jws: &Jws<'_>, blind: &mut Option<Failure>) -> Search {
        let first = self.search_fetched(jws);
        // Sets hold public keys only, so no fetch can help a token under a shared secret.
        let hopeless = jws.critical || jws.algorithm.is_none_or(Algorithm::is_symmetric);
        if hopeless || self.sources.is_empty() || !matches!(first, Search::Unknown(_)) {
            return first;
        }
        let fetches: Vec<_> = self.sources.iter().filter_map(|source| source.refetch()).collect();
        for fetch in fetches {
            fetch.await;
        }
        let second = self.search_fetched(jws);
        if matches!(second, Search::Unknown(_)) {
            *blind = self.sources.iter().find_map(|source| source.blind());
        }
        second
    }

    fn search_fetched(&self, jws: &Jws<'_>) -> Search {
        let mut failure = Failure::UnknownKey;
        let mut refused = None;
        for source in &self.sources {
            match source.search(jws) {
                Search::Verified(key) => return Search::Verified(key),
                // Two issuers may have chosen the same `kid`: the others are asked before it is a no.
                Search::Refused(no) => refused = refused.or(Some(no)),
                Search::Unknown(Failure::UnknownKey) => {}
                Search::Unknown(no) => failure = no,
            }
        }
        refused.map_or(Search::Unknown(failure), Search::Refused)
    }
}

/// Fails with the first problem of the settings.
fn check(jwt: &JwtVerifier, auth: &Auth, required: bool) -> Result<(), AuthSetupError> {
    let jwt = JwtVerifier { require_authentication: required, ..jwt.clone() };
    let named = |section: &'static str| move |(key, message)| (format!("{section}.{key}"), message);
    let own = jwt.problems().into_iter().map(named("jwt_verifier"));
    let mut problems =
        own.chain(auth.problems().into_iter().map(named("auth"))).chain(cross_problems(&jwt, auth));
    match problems.next() {
        Some((path, message)) => Err(AuthSetupError::Setting { path, message }),
        None => Ok(()),
    }
}

/// The sources of the settings; those that the former policy has under the same settings go on.
fn sources(
    auth: &Auth,
    metrics: &Arc<Metrics>,
    former: Option<&Policy>,
) -> Result<Vec<Arc<Source>>, AuthSetupError> {
    let known = former.map_or(&[][..], |former| &former.sources);
    let mut sources = Vec::with_capacity(auth.jwks.len());
    for settings in &auth.jwks {
        sources.push(if let Some(source) = known.iter().find(|source| source.settings() == settings) {
            source.clone()
        } else {
            let runtime = Handle::try_current().map_err(AuthSetupError::NoRuntime)?;
            Arc::new(Source::start(settings.clone(), metrics.clone(), &runtime)?)
        });
    }
    Ok(sources)
}

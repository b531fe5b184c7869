//! The chain of methods under one set of settings.

use std::sync::Arc;

use http::Uri;
use tokio::runtime::Handle;

use super::{
    Action, AuthSetupError, Grant,
    cache::{Now, Verdict},
    claims::Rules,
    failure::Failure,
    jwks::Source,
    keys::{KeySet, Search, VerifyKey},
    metrics::Metrics,
    token::{Jws, Token},
    webhook::Webhook,
};
use crate::{
    config::auth::{Auth, JwtVerifier, Method, cross_problems},
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

    /// Judges a token.
    pub(crate) async fn judge(&self, raw: &str, topic: &TopicName, action: Action) -> Verdict {
        let token = Token::parse(raw)?;
        let mut failure = if token.jws.is_some() { Failure::UnknownKey } else { Failure::Malformed };
        // A method that could not look makes a no of the others uncertain.
        let mut blind = None;
        for method in &self.order {
            let search = match (method, &token.jws) {
                (Method::Local, Some(jws)) => self.local.search(jws),
                (Method::Jwks, Some(jws)) => self.search_sources(jws, &mut blind).await,
                (Method::Webhook, _) => match self.ask(&token, topic, action).await {
                    Some(Err(no)) if no.is_verdict() => return Err(blind.unwrap_or(no)),
                    Some(verdict) => return verdict,
                    None => continue,
                },
                _ => continue,
            };
            match search {
                Search::Verified(key) => return self.grant(&token, &key, topic, action),
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
        let Some(Ok(token)) = raw.map(Token::parse) else { return Grant::default() };
        let Some(jws) = &token.jws else { return Grant::default() };
        let sets = std::iter::once(self.local.search(jws))
            .chain(self.sources.iter().map(|source| source.search(jws)));
        for search in sets {
            if let Search::Verified(key) = search {
                let now = Now::read().unix;
                let claims = jws.claims().and_then(|claims| {
                    claims.check(&self.rules, key.issuer.as_deref(), now).map(|()| claims)
                });
                return claims.map_or_else(
                    |_| Grant::default(),
                    |claims| claims.into_grant(&self.rules, key.kid.as_deref(), now),
                );
            }
        }
        Grant::default()
    }

    fn grant(&self, token: &Token<'_>, key: &VerifyKey, topic: &TopicName, action: Action) -> Verdict {
        let now = Now::read().unix;
        let claims = token.jws.as_ref().map_or(Err(Failure::Malformed), Jws::claims)?;
        claims.check(&self.rules, key.issuer.as_deref(), now)?;
        claims.permit(&self.rules, action, topic)?;
        Ok(claims.into_grant(&self.rules, key.kid.as_deref(), now))
    }

    async fn ask(&self, token: &Token<'_>, topic: &TopicName, action: Action) -> Option<Verdict> {
        match &self.webhook {
            Some(webhook) => Some(webhook.verdict(token, topic, action).await),
            None => None,
        }
    }

    /// Looks for the key in all sets; if none has it, once more after those were fetched again that may be.
    async fn search_sources(&self, jws: &Jws<'_>, blind: &mut Option<Failure>) -> Search {
        let first = self.search_fetched(jws);
        // Sets hold public keys only, so no fetch can help a token under a shared secret.
        let hopeless =
            jws.critical || jws.algorithm.is_none_or(super::super::config::auth::Algorithm::is_symmetric);
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

//! What the webhook's answers mean. Pure.

use http::StatusCode;
use serde::Deserialize;

use crate::{
    auth::{
        Action,
        cache::{Now, Verdict},
        claims::{Claims, NumericDate, Rules},
        failure::Failure,
        permission::Permissions,
        text::presentable,
    },
    topic::TopicName,
};

/// The outcome of one call.
#[derive(Debug)]
pub(super) enum Reply {
    /// The webhook spoke.
    Answered(Answer),
    /// It did not, or not in a way that means something.
    Failed {
        /// Whether the same call may well succeed a little later.
        again: bool,
    },
}

/// The webhook's JSON. Fields that are not known are passed over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    valid: bool,
    sub: Option<String>,
    exp: Option<NumericDate>,
    reason: Option<String>,
    #[serde(flatten)]
    permissions: Permissions,
}

// === impl Reply ===

impl Reply {
    /// Reads a whole response. 401 and 403 are a no; apart from them only a 2xx with JSON that has a boolean
    /// `valid` is an answer.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let reason = serde_json::from_slice::<Reason>(body).ok().and_then(|body| body.reason);
            return Self::Answered(Answer { reason, ..Answer::default() });
        }
        if !status.is_success() {
            let passing = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
            return Self::Failed { again: passing || status.is_server_error() };
        }
        match serde_json::from_slice::<Answer>(body) {
            Ok(answer) if answer.permissions.is_bounded() => Self::Answered(answer),
            _ => Self::Failed { again: true },
        }
    }
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

// === impl Answer ===

impl Answer {
    /// The verdict that the answer means for an action on a topic. What it leaves open is taken from the
    /// token's own claims, which a webhook that calls the token valid stands for.
    pub(super) fn judge(
        self,
        claims: Option<Claims>,
        key_id: Option<&str>,
        rules: &Rules,
        (action, topic): (Action, &TopicName),
    ) -> Verdict {
        let now = Now::read().unix;
        if !self.valid {
            return Err(Failure::Denied(self.reason.as_deref().map(presentable)));
        }
        let mut claims = claims.unwrap_or_default();
        claims.sub = self.sub.or(claims.sub);
        claims.exp = self.exp.or(claims.exp);
        claims.check_identity()?;
        if claims.exp.is_some_and(|exp| rules.is_over(exp.0, now)) {
            return Err(Failure::Expired);
        }
        if self.permissions.says_something() {
            if !self.permissions.allow(action, topic) {
                return Err(Failure::Forbidden(action));
            }
        } else {
            claims.permit(rules, action, topic)?;
        }
        Ok(claims.into_grant(rules, key_id, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::auth::Auth;

    fn judge(body: &str, claims: Option<&str>, action: Action) -> Verdict {
        let Reply::Answered(answer) = Reply::read(StatusCode::OK, body.as_bytes()) else {
            panic!("no answer: {body}")
        };
        let claims = claims.map(|json| serde_json::from_str(json).unwrap());
        answer.judge(
            claims,
            Some("k"),
            &Rules::new(&Auth::default()),
            (action, &TopicName::new("orders-1").unwrap()),
        )
    }

    fn failed(status: u16, body: &str) -> Option<bool> {
        match Reply::read(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            Reply::Failed { again } => Some(again),
            Reply::Answered(_) => None,
        }
    }

    #[test]
    fn only_a_clear_answer_is_one() {
        for body in [
            "",
            "{}",
            "[]",
            "true",
            r#"{"valid":"true"}"#,
            r#"{"valid":1}"#,
            r#"{"valid":null}"#,
            "{\"valid\":true",
        ] {
            assert_eq!(failed(200, body), Some(true), "{body}");
        }
        assert_eq!(failed(200, r#"{"valid":true,"exp":"soon"}"#), Some(true));
        assert_eq!(failed(200, r#"{"valid":true,"subscribe":"all"}"#), Some(true));
        assert_eq!(failed(201, r#"{"valid":false,"more":[1]}"#), None);
        for (status, again) in
            [(500, true), (503, true), (408, true), (429, true), (400, false), (404, false), (302, false)]
        {
            assert_eq!(failed(status, r#"{"valid":true}"#), Some(again), "{status}");
        }
        for status in [401, 403] {
            assert_eq!(failed(status, "garbage"), None);
            let Reply::Answered(no) =
                Reply::read(StatusCode::from_u16(status).unwrap(), br#"{"valid":true,"reason":"x"}"#)
            else {
                panic!()
            };
            assert_eq!((no.valid, no.reason.as_deref()), (false, Some("x")), "a status that says no wins");
        }
    }

    #[test]
    fn lists_and_booleans_of_the_answer_alone_decide() {
        let (subscribe, publish) = (Action::Subscribe, Action::Publish);
        let listed = r#"{"valid":true,"subscribe":["orders-*"]}"#;
        let token = Some(r#"{"permissions":["topic:read","topic:write"]}"#);
        assert!(judge(listed, token, subscribe).is_ok());
        assert_eq!(judge(listed, token, publish), Err(Failure::Forbidden(publish)));
        assert!(judge(r#"{"valid":true,"publish":true}"#, None, publish).is_ok());
        assert!(judge(r#"{"valid":true,"subscribe":false}"#, token, subscribe).is_err());
    }

    #[test]
    fn the_token_speaks_where_the_answer_is_silent() {
        let valid = r#"{"valid":true}"#;
        assert!(judge(valid, None, Action::Subscribe).is_ok());
        assert!(judge(valid, None, Action::Publish).is_err());
        let claims = Some(r#"{"sub":"token","exp":99999999999,"jti":"j","permissions":["topic:write"]}"#);
        let grant = judge(valid, claims, Action::Publish).unwrap();
        assert_eq!((grant.subject.as_deref(), grant.expires_at), (Some("token"), Some(99_999_999_999)));
        assert_eq!((grant.token_id.as_deref(), grant.key_id.as_deref()), (Some("j"), Some("k")));
        let grant =
            judge(r#"{"valid":true,"sub":"hook","exp":88888888888}"#, claims, Action::Publish).unwrap();
        assert_eq!((grant.subject.as_deref(), grant.expires_at), (Some("hook"), Some(88_888_888_888)));
    }

    #[test]
    fn an_expired_yes_is_a_no() {
        assert_eq!(judge(r#"{"valid":true,"exp":1000}"#, None, Action::Subscribe), Err(Failure::Expired));
        assert_eq!(
            judge(r#"{"valid":true}"#, Some(r#"{"exp":1000}"#), Action::Subscribe),
            Err(Failure::Expired)
        );
    }

    #[test]
    fn a_no_has_the_webhook_s_reason() {
        let denied = judge(r#"{"valid":false,"reason":"gone\n"}"#, None, Action::Subscribe);
        assert_eq!(denied, Err(Failure::Denied(Some("gone".into()))));
    }
}

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::*;
use crate::cli::doctor::observation::{Cors, Head, Resumed, Silence, Timed, Untimed};

const GOOD: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn head(status: u16, headers: &[(&'static str, &'static str)]) -> Head {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(status).unwrap();
    Head { status, version: Version::HTTP_2, headers: map, detail: "why".to_owned() }
}

/// Events that were sent every 200 ms and came after so many milliseconds each.
fn timed(delays: &[Option<u64>]) -> Timed {
    let sent: Vec<_> = (0..delays.len() as u64).map(|n| (ms(n * 200), ms(n * 200 + 1))).collect();
    let came = sent.iter().zip(delays).map(|((sent, _), delay)| Some(*sent + ms((*delay)?))).collect();
    Timed { sent, came, came_after_bytes: None }
}

/// A path on which everything is well.
fn good() -> Observations {
    Observations {
        answer: Answer::Head(head(200, &GOOD), ms(3)),
        late: None,
        encoding: None,
        timed: Ok(timed(&[Some(2); 10])),
        silence: Some(Silence { watched: ms(35_000), heard: vec![ms(21_000)], ended: None, farewell: None }),
        resumed: Some(Resumed::AsExpected),
        cors: None,
        clock_ms: Some(-12),
    }
}

/// The finding of a check, which has to be the only one.
fn finding(observations: &Observations, known: &[Product], check: &str) -> Finding {
    let mut found = judge(observations, known).into_iter().filter(|finding| finding.check == check);
    let finding = found.next().unwrap_or_else(|| panic!("nothing was found of {check}"));
    assert_eq!(found.next(), None);
    finding
}

fn level(observations: &Observations, check: &str) -> Level {
    finding(observations, &[], check).level
}

#[test]
fn a_good_path_has_no_finding_that_needs_anything() {
    let findings = judge(&good(), &[]);
    assert!(
        findings.iter().all(|finding| finding.level == Level::Ok && finding.advice.is_none()),
        "{findings:#?}"
    );
    let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(
        checks,
        ["answer", "headers", "compression", "http", "buffering", "silence", "resume", "clock"]
    );
    assert_eq!(worst(&findings), Level::Ok);
}

#[test]
fn what_is_no_stream_is_the_only_finding() {
    for (answer, part) in [
        (Answer::Head(head(401, &[]), ms(1)), "--token"),
        (Answer::Head(head(403, &[]), ms(1)), "other topics"),
        (Answer::Head(head(502, &[]), ms(1)), "does not reach"),
        (Answer::Head(head(404, &[]), ms(1)), "path"),
        (Answer::Nothing("no answer: refused".to_owned()), "Check host"),
    ] {
        let timed = Err(Untimed::NotWanted);
        let findings = judge(
            &Observations { answer, timed, silence: None, resumed: None, clock_ms: None, ..good() },
            &[],
        );
        assert_eq!((findings.len(), findings[0].level), (1, Level::Problem), "{findings:#?}");
        assert!(findings[0].advice.as_ref().unwrap().contains(part), "{findings:#?}");
    }
}

#[test]
fn a_head_that_is_late_is_held_back() {
    let late = Observations { answer: Answer::Late(ms(4_000)), timed: Ok(timed(&[None; 10])), ..good() };
    let found = finding(&late, &[Product::Nginx], "answer");
    assert_eq!((found.level, found.settings.len()), (Level::Problem, 1), "{found:?}");
    assert_eq!(level(&late, "buffering"), Level::Problem);
}

#[test]
fn changed_headers_are_found() {
    for (change, wanted, part) in [
        (("content-type", "text/html; charset=utf-8"), Level::Problem, "text/html"),
        (("cache-control", "max-age=60"), Level::Warning, "no-cache and no-transform got lost"),
        (("cache-control", "no-cache"), Level::Warning, "\"no-cache\": no-transform got lost"),
        (("content-length", "17"), Level::Problem, "Content-Length is 17"),
        (("age", "3"), Level::Problem, "cache"),
        (("x-cache", "Hit from somewhere"), Level::Problem, "cache"),
        // What is swallowed by the one whom it was meant for is not missed.
        (("x-accel-buffering", ""), Level::Ok, "unchanged"),
        (("content-type", "text/event-stream; charset=utf-8"), Level::Ok, "unchanged"),
    ] {
        let mut headers: Vec<_> = GOOD.into_iter().filter(|(name, _)| *name != change.0).collect();
        headers.push(change);
        let answer = Answer::Head(head(200, &headers), ms(1));
        let found = finding(&Observations { answer, ..good() }, &[], "headers");
        assert_eq!(found.level, wanted, "{change:?} {found:?}");
        assert!(found.found.contains(part), "{change:?} {found:?}");
    }
}

#[test]
fn compression_and_old_http_come_with_their_settings() {
    let gzip = Observations { encoding: Some("gzip".to_owned()), ..good() };
    let found = finding(&gzip, &[Product::Nginx], "compression");
    assert_eq!(found.level, Level::Warning);
    assert!(found.found.contains("gzip") && found.settings[0].setting.contains("gzip off"), "{found:?}");
    let mut old = head(200, &GOOD);
    old.version = Version::HTTP_11;
    let old = Observations { answer: Answer::Head(old, ms(1)), ..good() };
    assert_eq!(level(&old, "http"), Level::Note);
}

#[test]
fn events_that_are_held_back_are_told_from_a_slow_way() {
    let of = |delays: &[Option<u64>]| Observations { timed: Ok(timed(delays)), ..good() };
    // All together with the last; then in two groups.
    let together: Vec<_> = (0..10).map(|n| Some(1_800 - n * 200 + 5)).collect();
    let found = finding(&of(&together), &[], "buffering");
    assert_eq!(found.level, Level::Problem);
    assert!(
        found.found.contains("10 of 10 events sent over 1.8 s came in 1 burst, up to 1.8 s late"),
        "{found:?}"
    );
    assert!(found.settings.iter().any(|setting| setting.product == "nginx"), "{found:?}");
    let groups: Vec<_> = (0..10).map(|n| Some(if n < 5 { 800 - n * 200 } else { 1_800 - n * 200 })).collect();
    assert_eq!(level(&of(&groups), "buffering"), Level::Problem);
    // As late, but one by one, or only a little late: one may live with it.
    assert_eq!(level(&of(&[Some(1_805); 10]), "buffering"), Level::Warning);
    let pairs: Vec<_> = (0..10).map(|n| Some(if n % 2 == 0 { 205 } else { 5 })).collect();
    assert_eq!(level(&of(&pairs), "buffering"), Level::Warning);
    assert_eq!(level(&of(&[Some(40); 10]), "buffering"), Level::Ok);
    // Far away: a publish takes as long.
    let mut far = timed(&[Some(300); 10]);
    far.sent.iter_mut().for_each(|(sent, accepted)| *accepted = *sent + ms(310));
    assert_eq!(level(&Observations { timed: Ok(far), ..good() }, "buffering"), Level::Ok);
    // One that comes with the next is chance.
    let mut jitter = [Some(10); 10];
    jitter[3] = Some(205);
    assert_eq!(level(&of(&jitter), "buffering"), Level::Ok);
}

#[test]
fn events_that_do_not_come_are_a_problem() {
    let found = finding(&Observations { timed: Ok(timed(&[None; 10])), ..good() }, &[], "buffering");
    assert!(found.level == Level::Problem && found.found.contains("none of 10"), "{found:?}");
    let filled = Timed { came_after_bytes: Some(8_192), ..timed(&[None; 10]) };
    let found = finding(&Observations { timed: Ok(filled), ..good() }, &[], "buffering");
    assert!(found.found.contains("only after 8 KiB more"), "{found:?}");
    let mut some = [Some(2); 10];
    some[4] = None;
    let found = finding(&Observations { timed: Ok(timed(&some)), ..good() }, &[], "buffering");
    assert!(found.level == Level::Problem && found.found.contains("9 of 10"), "{found:?}");
}

#[test]
fn without_publishing_keepalives_have_to_do() {
    let refused = || Err(Untimed::Refused("403 Forbidden".to_owned()));
    let found = finding(&Observations { timed: refused(), ..good() }, &[], "buffering");
    assert!(
        found.level == Level::Note && found.found.contains("keepalive came through after 21.0 s"),
        "{found:?}"
    );
    let silence = Some(Silence { watched: ms(5_000), ..Silence::default() });
    let found = finding(&Observations { timed: refused(), silence, ..good() }, &[], "buffering");
    assert!(found.level == Level::Note && found.found.contains("not known"), "{found:?}");
}

#[test]
fn a_cut_is_for_silence_or_for_the_time_it_took() {
    let of = |heard: &[u64], at: u64| {
        let ended = Some((ms(at), "the stream ended".to_owned()));
        let heard = heard.iter().map(|at| ms(*at)).collect();
        Observations {
            silence: Some(Silence { watched: ms(35_000), heard, ended, farewell: None }),
            ..good()
        }
    };
    let found = finding(&of(&[], 5_000), &[Product::Haproxy], "silence");
    assert!(found.level == Level::Problem && found.found.contains("cut after 5.0 s of silence"), "{found:?}");
    assert!(found.advice.as_ref().unwrap().contains("below 5"), "{found:?}");
    assert!(found.settings[0].setting.contains("timeout server"), "{found:?}");
    let found = finding(&of(&[4_000, 8_000, 12_000], 15_000), &[Product::Envoy], "silence");
    assert!(found.found.contains("although keepalives came"), "{found:?}");
    assert!(found.settings[0].setting.contains("timeout: 0s"), "{found:?}");
    // It was silent for longer than ever before.
    let found = finding(&of(&[4_000], 20_000), &[], "silence");
    assert!(found.found.contains("cut after 16.0 s of silence"), "{found:?}");
}

#[test]
fn silence_that_nothing_breaks_is_doubtful_unless_the_proxy_ended_it() {
    let quiet = Some(Silence { watched: ms(35_000), ..Silence::default() });
    assert_eq!(level(&Observations { silence: quiet, ..good() }, "silence"), Level::Warning);
    let farewell = Some("revenprox-retry {\"reason\":\"draining\"}".to_owned());
    let ended = Some((ms(100), "the stream ended".to_owned()));
    let drained = Some(Silence { watched: ms(35_000), heard: Vec::new(), ended, farewell });
    let found = finding(&Observations { silence: drained, ..good() }, &[], "silence");
    assert!(found.level == Level::Note && found.found.contains("draining"), "{found:?}");
}

#[test]
fn a_resume_that_fails_is_not_blamed_on_headers_where_all_is_held_back() {
    let of = |resumed| Observations { resumed: Some(resumed), ..good() };
    assert_eq!(level(&of(Resumed::Ignored), "resume"), Level::Problem);
    assert_eq!(level(&of(Resumed::Gap("expired".to_owned())), "resume"), Level::Warning);
    assert_eq!(level(&of(Resumed::Failed("503".to_owned())), "resume"), Level::Problem);
    let held = Observations { timed: Ok(timed(&[None; 10])), ..of(Resumed::Ignored) };
    assert_eq!(level(&held, "resume"), Level::Note);
}

#[test]
fn pages_need_one_header_that_fits_and_a_preflight() {
    let of = |allowed: &[&str], preflight: Option<(u16, &str)>| {
        let preflight =
            preflight.map(|(status, text)| (StatusCode::from_u16(status).unwrap(), text.to_owned()));
        let allowed = allowed.iter().map(|&text| text.to_owned()).collect();
        let cors = Cors { origin: "https://a.example".to_owned(), allowed, preflight };
        level(&Observations { cors: Some(cors), ..good() }, "cors")
    };
    let good = Some((204, "Authorization, Last-Event-ID"));
    assert_eq!(of(&["*"], good), Level::Ok);
    assert_eq!(of(&["https://a.example"], good), Level::Ok);
    assert_eq!(of(&[], good), Level::Problem);
    assert_eq!(of(&["https://b.example"], good), Level::Problem);
    assert_eq!(of(&["*", "*"], good), Level::Problem);
    assert_eq!(of(&["*"], Some((405, ""))), Level::Warning);
    assert_eq!(of(&["*"], Some((204, "Content-Type"))), Level::Warning);
    assert_eq!(of(&["*"], None), Level::Warning);
}

#[test]
fn clocks_may_differ_by_less_than_tokens_forgive() {
    let of = |clock| level(&Observations { clock_ms: Some(clock), ..good() }, "clock");
    assert_eq!(
        [of(0), of(-2_900), of(3_001), of(-29_000), of(31_000), of(i64::MIN)],
        [Level::Ok, Level::Ok, Level::Warning, Level::Warning, Level::Problem, Level::Problem]
    );
}

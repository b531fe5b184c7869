use super::*;
use crate::{BackpressurePolicy, LogLevel};

/// What a usable configuration needs besides the defaults.
const OPEN: &str = "[jwt_verifier]\nrequire_authentication = false\n";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    parse_with(text, &[])
}

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse("p.toml", &format!("{text}\n{OPEN}"), env)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn only_problem(text: &str) -> String {
    let problems = parse(text).expect_err(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn an_empty_file_is_the_default() {
    let mut wanted = Config::default();
    wanted.jwt_verifier.require_authentication = false;
    assert_eq!(parse("").unwrap(), wanted);
}

#[test]
fn values_are_taken() {
    let config = parse(
        "log_level = \"warn\"\n[http]\nbind_address = \"[::1]:9\"\nbackpressure_policy = \"drop_oldest\"\n\
         cors_allowed_origins = [\"https://a.example\"]\ntrusted_proxies = \"10.0.0.0/8, fd00::/8\"\n\
         forwarded_header = \"x-forwarded-for\"\n[telemetry]\notlp_sample_ratio = 1\n",
    )
    .unwrap();
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.http.bind_address.port(), 9);
    assert_eq!(config.http.backpressure_policy, BackpressurePolicy::DropOldest);
    assert_eq!(config.http.cors_allowed_origins, ["https://a.example"]);
    assert_eq!(config.http.trusted_proxies.len(), 2);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "loglevel = \"info\"\n[http]\nbind_adress = \"0.0.0.0:1\"\nkeepalive_interval_sec = 0\n  \
                max_headers = \"many\"\nbackpressure_policy = \"drop_old\"\n[distributed_state]\nmerkle_tree_rebuild_threshold = 1\n[history]\nmax_age_sec = 1.5\n";
    let problems = parse(text).unwrap_err();
    assert_eq!(
        problems,
        [
            "p.toml:1:1: loglevel: is not a known key (did you mean log_level?)",
            "p.toml:3:1: http.bind_adress: is not a known key (did you mean bind_address?)",
            "p.toml:4:26: http.keepalive_interval_sec: must be between 1 and 3600, not 0",
            "p.toml:5:17: http.max_headers: must be an integer, not a text",
            "p.toml:6:23: http.backpressure_policy: must be one of drop_newest, drop_oldest, block, disconnect, \
             not \"drop_old\"",
            "p.toml:8:1: distributed_state.merkle_tree_rebuild_threshold: is not needed: the tree follows each change \
             and is never rebuilt; remove the key",
            "p.toml:10:15: history.max_age_sec: must be an integer, not a number with a fraction",
        ]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_led_home() {
    let problem = only_problem("[http]\nmax_memory_mb = 5");
    assert_eq!(
        problem,
        "p.toml:2:1: http.max_memory_mb: is not a known key (did you mean limits.max_memory_mb?)"
    );
}

#[test]
fn broken_toml_is_reported_with_its_line_and_the_rest_is_still_checked() {
    let text = "[http]\nmax_headers = = 3\nmax_headerz = 3\n";
    let problems = Config::parse("p.toml", text, []).unwrap_err();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let (last, syntax) = problems.split_last().unwrap();
    assert_eq!(last, "p.toml:3:1: http.max_headerz: is not a known key (did you mean max_headers?)");
    assert!(!syntax.is_empty());
    assert!(
        syntax.iter().all(|problem| problem.starts_with("p.toml:2:") && problem.contains(": not TOML: "))
    );
}

#[test]
fn formats_are_checked_where_they_stand() {
    for (text, wanted) in [
        (
            "[http]\nbind_address = \"localhost\"",
            "p.toml:2:16: http.bind_address: must be an IP address and a port",
        ),
        (
            "[http]\ncors_allowed_origins = [\n\"https://a\",\n\"b\"]",
            "p.toml:4:1: http.cors_allowed_origins[1]: must be",
        ),
        (
            "[http]\ntrusted_proxies = [\"10.0.0.1\"]",
            "p.toml:2:20: http.trusted_proxies[0]: must be a network",
        ),
        (
            "[telemetry]\notlp_endpoint = \"collector:4318\"",
            "p.toml:2:17: telemetry.otlp_endpoint: must be an http",
        ),
        (
            "[telemetry]\notlp_sample_ratio = 1.5",
            "p.toml:2:21: telemetry.otlp_sample_ratio: must be between 0 and 1",
        ),
        ("[telemetry]\nservice_name = \"\"", "p.toml:2:16: telemetry.service_name: must not be empty"),
    ] {
        let problem = only_problem(text);
        assert!(problem.starts_with(wanted), "{problem}");
    }
}

#[test]
fn sections_are_checked_against_each_other() {
    for (text, wanted) in [
        (
            "[publish]\nmax_event_bytes = 2000000\n[history]\nmax_bytes_per_topic = 3000000",
            "p.toml:2:1: publish.max_event_bytes",
        ),
        (
            "[publish]\nmax_event_bytes = 1048576\n[history]\nmax_bytes_per_topic = 9999",
            "p.toml:2:1: publish.max_event_bytes",
        ),
        ("[history]\nmax_total_mb = 2000", "p.toml:2:1: history.max_total_mb"),
        (
            "[history]\nmax_bytes_per_topic = 2097152\nmax_total_mb = 1",
            "p.toml:2:1: history.max_bytes_per_topic",
        ),
        ("[admin]\nbind_address = \"0.0.0.0:8080\"", "p.toml:2:1: admin.bind_address"),
        ("[admin]\nexclusive = true", "p.toml:2:1: admin.exclusive"),
        ("[http]\nforwarded_header = \"forwarded\"", "p.toml:2:1: http.forwarded_header"),
        ("[http]\nproxy_protocol = true", "p.toml:2:1: http.proxy_protocol"),
        ("[http]\ncors_allowed_origins = \"*, https://a\"", "p.toml:2:1: http.cors_allowed_origins"),
        ("[tls]\nkey_file = \"k\"", "p.toml:1:2: tls.cert_file"),
    ] {
        let problem = only_problem(text);
        assert!(problem.starts_with(wanted), "{problem}");
    }
}

#[test]
fn history_may_be_off_and_memory_unlimited() {
    let text = "[publish]\nmax_event_bytes = 1048576\n[history]\nmax_events_per_topic = 0\nmax_bytes_per_topic = 9999\n\
                max_total_mb = 4096\n[limits]\nmax_memory_mb = 0";
    assert!(!parse(text).unwrap().history.is_on());
}

#[test]
fn the_environment_wins_and_is_read_as_the_key_needs() {
    let config = parse_with(
        "[http]\nmax_headers = 50\nmax_connections = 5",
        &[
            ("REVENPROX_HTTP__MAX_HEADERS", "60"),
            ("REVENPROX_METRICS_ENABLED", "false"),
            ("REVENPROX_PROXY_ID", "42"),
            ("REVENPROX_TELEMETRY__OTLP_SAMPLE_RATIO", "0.5"),
            ("REVENPROX_HTTP__CORS_ALLOWED_ORIGINS", "https://a.example,https://b.example"),
            ("REVENPROX_HTTP__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("REVENPROX_HTTP__FORWARDED_HEADER", "forwarded"),
            ("REVENPROX_ADMIN__BIND_ADDRESS", "127.0.0.1:1"),
            ("REVENPROX_ADMIN__TOKEN", "123456"),
            ("REVENPROX_TLS__CERT_FILE", "c"),
            ("REVENPROX_TLS__KEY_FILE", "k"),
            ("PATH", "/bin"),
            ("REVENPROX_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ],
    )
    .unwrap();
    assert_eq!((config.http.max_headers, config.http.max_connections), (60, 5));
    assert!(!config.metrics_enabled);
    assert_eq!(config.proxy_id.as_deref(), Some("42"));
    assert_eq!(config.http.cors_allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.http.trusted_proxies.len(), 1);
    assert_eq!(config.admin.token.unwrap().expose(), "123456");
    assert_eq!(config.tls.unwrap().cert_file, "c");
}

#[test]
fn an_empty_variable_removes_what_has_no_default() {
    let env = [("REVENPROX_ADMIN__BIND_ADDRESS", ""), ("REVENPROX_HTTP__TRUSTED_PROXIES", "")];
    let config = parse_with("[admin]\nbind_address = \"127.0.0.1:1\"", &env).unwrap();
    assert_eq!(config.admin.bind_address, None);
    assert!(config.http.trusted_proxies.is_empty());
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    let env = [
        ("REVENPROX_HTTP_MAX_HEADERS", "60"),
        ("REVENPROX_HTTP__MAX_CONNECTIONS", "lots"),
        ("REVENPROX_HTTP__KEEPALIVE_INTERVAL_SEC", "0"),
        ("REVENPROX_DISTRIBUTED_STATE__MERKLE_TREE_REBUILD_THRESHOLD", "1"),
        ("REVENPROX_HTTP__TRUSTED_PROXIES", "[\"10.0.0.0/8\""),
    ];
    let mut problems = parse_with("", &env).unwrap_err();
    problems.sort();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    for (problem, wanted) in problems.iter().zip([
        "REVENPROX_DISTRIBUTED_STATE__MERKLE_TREE_REBUILD_THRESHOLD: distributed_state.merkle_tree_rebuild_threshold: \
         is not needed",
        "REVENPROX_HTTP_MAX_HEADERS: sets no known key (did you mean REVENPROX_HTTP__MAX_HEADERS?)",
        "REVENPROX_HTTP__KEEPALIVE_INTERVAL_SEC: http.keepalive_interval_sec: must be between 1 and 3600, not 0",
        "REVENPROX_HTTP__MAX_CONNECTIONS: http.max_connections: must be an integer, not a text",
        "REVENPROX_HTTP__TRUSTED_PROXIES: http.trusted_proxies: not a TOML value",
    ]) {
        assert!(problem.starts_with(wanted), "{problem}");
    }
}

#[test]
fn a_missing_webhook_is_a_problem_of_the_whole_file() {
    let problems = Config::parse("p.toml", "", []).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "jwt_verifier.webhook_url");
    assert_eq!(problems[0].place, Place::Whole("p.toml".into()));
}

#[test]
fn a_byte_order_mark_and_wide_characters_do_not_shift_columns() {
    let problem = only_problem("\u{feff}proxy_id = \"é\" # ß\nmetrics_enabled = 'ü'");
    assert_eq!(problem, "p.toml:2:19: metrics_enabled: must be true or false, not a text");
}

#[test]
fn configurations_made_by_code_are_checked_too() {
    let mut config = crate::dev_config();
    assert_eq!(config.problems(), []);
    config.http.keepalive_interval_sec = 0;
    config.admin.exclusive = true;
    let keys: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["http.keepalive_interval_sec", "admin.exclusive"]);
}

//! The environment as a source of configuration: `REVENPROX_HTTP__BIND_ADDRESS` is `http.bind_address`.

use super::{
    check::reserved,
    nearest::nearest,
    problem::{Place, Problem},
    schema,
    tree::{Node, Raw},
};

/// What the names of all variables start with.
pub const PREFIX: &str = "REVENPROX_";

/// The variable that sets a key.
pub fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// Puts the values of the environment into the tree, over those that are there. Variables without the prefix
/// and those that Kubernetes makes for Services are passed over; any other unknown one is a problem.
pub(super) fn overlay(
    tree: &mut Node,
    vars: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in vars {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let place = Place::Variable(name.as_str().into());
        let path = rest.to_lowercase().replace("__", ".");
        if schema::key(&path).is_some_and(|key| !key.path.contains('[')) && variable(&path) == name {
            let keys: Vec<_> = path.split('.').collect();
            tree.insert(&keys, Node { place, value: Raw::Untyped(value) });
        } else if !is_service_link(rest) {
            problems.push(unknown(&name, &path, place));
        }
    }
}

fn unknown(name: &str, path: &str, place: Place) -> Problem {
    if let Some(reason) = reserved(path) {
        return Problem::new(place, path, reason);
    }
    let known: Vec<_> =
        schema::keys().iter().filter(|k| !k.path.contains('[')).map(|k| variable(&k.path)).collect();
    let mut problem = Problem::new(place, "", "sets no known key");
    problem.nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    problem
}

/// Whether Kubernetes made the variable for a Service whose name starts with `revenprox`, as it does in every
/// pod of the namespace: `…_SERVICE_HOST`, `…_SERVICE_PORT[_NAME]`, `…_PORT`, `…_PORT_<number>_<protocol>[_…]`.
fn is_service_link(rest: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let words: Vec<_> = rest.split('_').collect();
    let is_port = |number: &str, protocol: &str| {
        number.parse::<u16>().is_ok() && matches!(protocol, "TCP" | "UDP" | "SCTP")
    };
    match words.as_slice() {
        [.., "PORT", number, protocol] | [.., "PORT", number, protocol, "PROTO" | "PORT" | "ADDR"]
            if is_port(number, protocol) =>
        {
            true
        }
        [.., "SERVICE", "HOST"] | [.., "PORT"] => true,
        words => words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_are_told_from_ours() {
        for link in [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_8080_TCP",
            "PORT_8080_TCP_ADDR",
        ] {
            assert!(is_service_link(link), "{link}");
            assert!(is_service_link(&format!("ADMIN_{link}")), "{link}");
        }
        for other in ["HTTP__BIND_ADDRESS", "HTTP_PORTS", "PORT_X_TCP", "LOG_LEVEL"] {
            assert!(!is_service_link(other), "{other}");
        }
    }

    #[test]
    fn no_key_looks_like_a_variable_of_a_service() {
        for key in schema::keys() {
            assert!(!is_service_link(&variable(&key.path)[PREFIX.len()..]), "{}", key.path);
        }
    }
}

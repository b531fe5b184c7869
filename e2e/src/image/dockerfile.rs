//! Reads the last stages of the project's `Dockerfile`, so that an image built here and one built
//! by Docker hold the same files and start the same way: there is one description of both.
//!
//! A stage that becomes an image starts `FROM scratch` and only copies single files and sets how
//! they run. Everything else belongs into the `build` stage, which is not interpreted.

use super::{File, Run, Source};

/// A `Dockerfile`, or a stage of it, that cannot be followed here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DockerfileError {
    /// There is no such stage.
    #[error("the Dockerfile has no stage `FROM scratch AS {0}`")]
    NoStage(String),
    /// An instruction is not one that an image stage may have, or is malformed.
    #[error("line {line} of the Dockerfile, `{instruction}`: {reason}")]
    Instruction {
        /// Line number, from 1.
        line: usize,
        /// The instruction as written.
        instruction: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a stage says an image is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The files it copies.
    pub files: Vec<File>,
    /// How its process is started.
    pub run: Run,
}

/// Where a `COPY` takes a file from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The `build` stage.
    Build,
    /// The project's own tree.
    Context,
}

/// Follows the stage `FROM scratch AS name`. `locate` finds the file that a `COPY` names, or says why not.
pub fn stage(
    text: &str,
    name: &str,
    locate: impl Fn(Origin, &str) -> Result<Source, String>,
) -> Result<Stage, DockerfileError> {
    let instructions = instructions(text);
    let start = instructions
        .iter()
        .position(|(_, words)| is_start(words, name))
        .ok_or_else(|| DockerfileError::NoStage(name.to_owned()))?;
    let mut stage = Stage::default();
    for (line, instruction) in instructions[start + 1..].iter().take_while(|(_, text)| !is_from(text)) {
        follow(instruction, &mut stage, &locate).map_err(|reason| DockerfileError::Instruction {
            line: *line,
            instruction: instruction.clone(),
            reason,
        })?;
    }
    Ok(stage)
}

/// Instructions with the number of the line they start on; comments dropped, continued lines joined.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut instructions: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let part = line.strip_suffix('\\').map_or(line, str::trim_end);
        match instructions.last_mut() {
            Some((_, previous)) if open => {
                previous.push(' ');
                previous.push_str(part);
            }
            _ => instructions.push((index + 1, part.to_owned())),
        }
        open = line.ends_with('\\');
    }
    instructions
}

fn is_from(instruction: &str) -> bool {
    instruction.split_whitespace().next() == Some("FROM")
}

fn is_start(instruction: &str, name: &str) -> bool {
    let words: Vec<&str> = instruction.split_whitespace().collect();
    words == ["FROM", "scratch", "AS", name]
}

fn follow(
    instruction: &str,
    stage: &mut Stage,
    locate: &impl Fn(Origin, &str) -> Result<Source, String>,
) -> Result<(), String> {
    let (word, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
    let rest = rest.trim();
    let words = || rest.split_whitespace().map(str::to_owned);
    match word {
        "COPY" => stage.files.push(copy(rest, locate)?),
        "ENTRYPOINT" => stage.run.entrypoint = list(rest)?,
        "CMD" => stage.run.command = list(rest)?,
        "USER" => rest.clone_into(&mut stage.run.user),
        "ENV" => stage.run.environment.extend(words()),
        "EXPOSE" => stage.run.ports.extend(words().map(port)),
        "STOPSIGNAL" => stage.run.stop_signal = Some(rest.to_owned()),
        "LABEL" => {
            let (name, value) = rest.split_once('=').ok_or("a label is written NAME=\"value\"")?;
            stage.run.labels.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
        _ => {
            return Err("a stage that becomes an image cannot have it; move it to the build stage".to_owned());
        }
    }
    Ok(())
}

fn copy(rest: &str, locate: &impl Fn(Origin, &str) -> Result<Source, String>) -> Result<File, String> {
    let (mut origin, mut mode, mut paths) = (Origin::Context, None, Vec::new());
    for word in rest.split_whitespace() {
        if word == "--from=build" {
            origin = Origin::Build;
        } else if let Some(octal) = word.strip_prefix("--chmod=") {
            mode = Some(u32::from_str_radix(octal, 8).map_err(|_| format!("{octal} is not an octal mode"))?);
        } else if word.starts_with("--") {
            return Err(format!("{word} is not followed here"));
        } else {
            paths.push(word);
        }
    }
    let ([from, to], Some(mode)) = (paths.as_slice(), mode) else {
        return Err("write it as COPY [--from=build] --chmod=MODE FILE /FILE".to_owned());
    };
    Ok(File { path: (*to).to_owned(), mode, source: locate(origin, from)? })
}

fn list(json: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(json).map_err(|_| "write it as a JSON list of strings".to_owned())
}

fn port(text: String) -> String {
    if text.contains('/') { text } else { format!("{text}/tcp") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# A comment.
FROM rust:1 AS build
RUN cargo build \
    && cp a b

FROM scratch AS other
USER 1:1

FROM scratch AS thing
COPY --from=build --chmod=0755 /out/thing /usr/bin/thing
COPY --chmod=0644 settings.toml /etc/thing.toml
ENV A=1 B=2
LABEL org.example.title="A thing"
EXPOSE 8080 53/udp
USER 65532:65532
ENTRYPOINT ["/usr/bin/thing"]
CMD ["--file", \
     "/etc/thing.toml"]
"#;

    // The signature is the one that `stage` asks for.
    #[allow(clippy::unnecessary_wraps)]
    fn locate(origin: Origin, path: &str) -> Result<Source, String> {
        Ok(Source::Bytes(format!("{origin:?} {path}").into_bytes()))
    }

    #[test]
    fn a_stage_says_files_and_process() {
        let stage = stage(TEXT, "thing", locate).unwrap();
        let files: Vec<_> = stage.files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
        assert_eq!(files, [("/usr/bin/thing", 0o755), ("/etc/thing.toml", 0o644)]);
        assert_eq!(stage.files[0].source, Source::Bytes(b"Build /out/thing".to_vec()));
        assert_eq!(stage.files[1].source, Source::Bytes(b"Context settings.toml".to_vec()));
        assert_eq!(stage.run.entrypoint, ["/usr/bin/thing"]);
        assert_eq!(stage.run.command, ["--file", "/etc/thing.toml"]);
        assert_eq!(stage.run.environment, ["A=1", "B=2"]);
        assert_eq!(stage.run.ports, ["8080/tcp", "53/udp"]);
        assert_eq!(stage.run.user, "65532:65532");
        assert_eq!(stage.run.labels, [("org.example.title".to_owned(), "A thing".to_owned())]);
    }

    #[test]
    fn a_stage_ends_where_the_next_begins() {
        let stage = stage(TEXT, "other", locate).unwrap();
        assert_eq!(stage.run.user, "1:1");
        assert!(stage.files.is_empty());
    }

    #[test]
    fn a_missing_stage_is_named() {
        assert_eq!(stage(TEXT, "build", locate), Err(DockerfileError::NoStage("build".to_owned())));
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_its_line() {
        let text = "FROM scratch AS thing\n\nRUN make\n";
        let error = stage(text, "thing", locate).unwrap_err();
        assert!(error.to_string().starts_with("line 3 of the Dockerfile, `RUN make`"), "{error}");
        for bad in
            ["COPY --chmod=0644 a b /c/", "COPY a /b", "COPY --chmod=9 a /b", "CMD run", "COPY --link a /b"]
        {
            let text = format!("FROM scratch AS thing\n{bad}\n");
            assert!(stage(&text, "thing", locate).is_err(), "{bad}");
        }
    }
}

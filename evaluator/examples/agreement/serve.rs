//! The child: reads questions from its standard input, one JSON document a line, and answers them.

use std::io::{BufRead, Write};
use std::sync::mpsc;

use anyhow::{Context, Result};
use levain_evaluator::embedded::{self, Output, Question, Source};
use levain_evaluator::lang::Settings;
use levain_evaluator::lang::io::Message;

use crate::ours::{Reply, Request, Show};

/// Answers until there are no more questions.
pub(crate) fn serve() -> Result<()> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot read a question")?;
        let request: Request =
            serde_json::from_str(&line).context("cannot understand a question")?;
        let (tell, told) = mpsc::channel();
        // What nobody waits for any more is lost.
        let listener = move |message: Message| drop(tell.send(message.to_string()));
        let reply = match embedded::evaluate(question(request)?, listener) {
            Ok(value) => {
                let value = String::from_utf8_lossy(&value).into_owned();
                Reply::Value(value, told.try_iter().collect())
            }
            Err(failure) => Reply::Failure(failure.to_string()),
        };
        let line = serde_json::to_string(&reply).context("cannot write an answer")?;
        writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot answer")?;
    }
    Ok(())
}

fn question(request: Request) -> Result<Question> {
    let source = match request.text {
        Some(text) => Source::Text { text: text.into_bytes(), directory: request.path },
        None => Source::File(request.path),
    };
    let output = match request.show {
        Show::Strict => Output::Strict,
        Show::Raw => Output::Raw,
        Show::Json => Output::Json,
        Show::Xml => Output::Xml,
        Show::Parse => Output::Parsed,
    };
    let mut settings = Settings::default();
    for (name, value) in &request.settings {
        settings.set(name, value).with_context(|| format!("cannot set `{name}`"))?;
    }
    Ok(Question {
        search_path: request.search_path,
        environment: request
            .environment
            .into_iter()
            .map(|(name, value)| (name, value.into_bytes()))
            .collect(),
        settings,
        system: Some("x86_64-linux".to_owned()),
        ..Question::new(source, output)
    })
}

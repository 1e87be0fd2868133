//! `ligature message`: looks into HL7 files and edits them.
//!
//! What is asked for goes to standard output, oddities and faults to standard error; what cannot be read leaves
//! standard output empty. Start at [`run`]; the tree of `show` is made in `message/tree.rs`.

mod tree;

use std::io::{self, Read, Write};
use std::path::{Path as File, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use serde_json::json;

use crate::hl7::deidentify::deidentify;
use crate::hl7::path::Index;
use crate::hl7::{Charset, Content, Fill, Message, Options, Path, batch, dictionary};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the value at a path: nothing if it is absent or empty, "" if it is null.
    ///
    /// Escape sequences are decoded, and the output is UTF-8. Under [*] every hit is a line of its own.
    #[command(after_help = "Example: ligature message get adt-a04.hl7 \"PID-3[.5='MR'].1\"")]
    Get {
        #[command(flatten)]
        input: Input,
        /// Such as PID-5.1, OBX[2]-5 or PID-3[.5='MR'].1
        path: String,
        /// Print the whole element as it stands, not decoded.
        #[arg(long)]
        raw: bool,
    },
    /// Sets values and prints the edited message; what is not named stays byte for byte.
    ///
    /// VALUE is text and is escaped on writing; "" writes null, an empty one empties.
    #[command(
        after_help = "Example: ligature message set adt-a04.hl7 PID-5.1=Roe 'PID-13=\"\"' PID-19="
    )]
    Set {
        #[command(flatten)]
        input: Input,
        /// A path and what to put there.
        #[arg(required = true, value_name = "PATH=VALUE")]
        edits: Vec<String>,
    },
    /// Prints a message as a tree of everything that stands in it, with the names of the standard.
    #[command(after_help = "Example: ligature message show adt-a04.hl7")]
    Show {
        #[command(flatten)]
        input: Input,
        /// Print JSON; in it, null is a value that the sender asks to delete.
        #[arg(long)]
        json: bool,
    },
    /// Prints a message or batch with CR as the end of every line and nothing else changed.
    #[command(after_help = "Example: ligature message normalize unix.hl7 > proper.hl7")]
    Normalize {
        #[command(flatten)]
        input: Input,
    },
    /// Prints a message with other values in the same shape, to show to others or to build a mapping on.
    ///
    /// MSH, set ids and codes of HL7's own tables stay; everything else is replaced, Z-segments and free text too.
    #[command(after_help = "Example: ligature message deidentify adt-a04.hl7 > sample.hl7")]
    Deidentify {
        #[command(flatten)]
        input: Input,
    },
    /// Prints one line of JSON for each message of a batch or stream, with where it stands in the file.
    #[command(after_help = "Example: ligature message split batch.hl7")]
    Split {
        #[command(flatten)]
        input: Input,
    },
}

#[derive(Debug, clap::Args)]
pub struct Input {
    /// An HL7 file; - is standard input.
    file: PathBuf,
    /// Read in this character set, whatever MSH-18 says; a name of HL7 table 0211, such as 8859/1.
    #[arg(long, value_name = "NAME")]
    charset: Option<Charset>,
}

/// Runs one of the commands: exit status 0 done, 1 not readable or not settable, 2 a path that is none.
///
/// # Errors
/// A file that cannot be read, bytes that are no message, an edit that is impossible, and an `out` that cannot be written.
pub(super) fn run(command: Command, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        Command::Get { input, path, raw } => {
            let Some(path) = read_path(&path) else {
                return Ok(ExitCode::from(2));
            };
            let bytes = input.bytes()?;
            get(&input.one(&bytes)?.message, &path, raw, out)?;
        }
        Command::Set { input, edits } => {
            let Some(edits) = edits
                .iter()
                .map(|edit| read_edit(edit))
                .collect::<Option<Vec<_>>>()
            else {
                return Ok(ExitCode::from(2));
            };
            let bytes = input.bytes()?;
            let mut one = input.one(&bytes)?;
            for (path, value) in edits {
                let fill = match value {
                    "" => Fill::Empty,
                    "\"\"" => Fill::Null,
                    text => Fill::Text(text),
                };
                one.message.set(&path, fill)?;
            }
            out.write_all(one.before)?;
            out.write_all(&one.message.bytes())?;
            out.write_all(one.after)?;
            input.say_warnings(&one.message);
        }
        Command::Show { input, json } => {
            let bytes = input.bytes()?;
            let message = input.one(&bytes)?.message;
            match json {
                true => writeln!(
                    out,
                    "{}",
                    serde_json::to_string_pretty(&tree::json(&message))?
                )?,
                false => out.write_all(tree::text(&message).as_bytes())?,
            }
        }
        Command::Normalize { input } => {
            let bytes = input.bytes()?;
            for entry in batch::split(&bytes) {
                input.parse(entry).with_context(|| place(&bytes, entry))?;
            }
            out.write_all(&batch::normalize(&bytes))?;
        }
        Command::Deidentify { input } => {
            let bytes = input.bytes()?;
            let one = input.one(&bytes)?;
            out.write_all(&deidentify(&one.message))?;
            input.say_warnings(&one.message);
        }
        Command::Split { input } => return split(&input, out),
    }
    Ok(ExitCode::SUCCESS)
}

fn get(message: &Message, path: &Path, raw: bool, out: &mut dyn Write) -> io::Result<()> {
    let shown = |content: Content<'_>| match content {
        Content::Null => "\"\"".to_owned(),
        content => content.text_or_empty().into_owned(),
    };
    let every = path.occurrence() == Index::Every || path.repetition() == Index::Every;
    let text = match (raw, every) {
        (true, _) => message.raw(path).unwrap_or_default().to_owned(),
        (false, false) => shown(message.get(path)),
        (false, true) => {
            let hits: Vec<String> = message.get_all(path).into_iter().map(shown).collect();
            // A hit without a value keeps its line, so that two lists can be laid side by side.
            match hits.iter().all(String::is_empty) {
                true => String::new(),
                false => hits.join("\n"),
            }
        }
    };
    match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "{text}"),
    }
}

fn split(input: &Input, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let bytes = input.bytes()?;
    let read = batch::read(&bytes);
    let mut code = ExitCode::SUCCESS;
    for (index, entry) in read.messages.iter().enumerate() {
        let message = match input.parse(entry) {
            Ok(message) => message,
            Err(error) => {
                code = ExitCode::FAILURE;
                say(&format!("{}: {error}", place(&bytes, entry)));
                continue;
            }
        };
        let header = message.header();
        let event = dictionary::event(&header.message_code, &header.trigger_event);
        let line = json!({
            "message": index + 1,
            "offset": offset(&bytes, entry),
            "size_bytes": entry.len(),
            "control_id": header.control_id,
            "type": tree::message_type(&header),
            "label": event.map(|event| event.label()),
            "structure": header.structure,
            "version": header.version,
            "time": header.message_time,
            "sending_application": header.sending_application,
            "sending_facility": header.sending_facility,
            "segments": message.segments().count(),
            "charset": message.charset().name(),
            "warnings": tree::warnings(&message),
        });
        writeln!(out, "{line}")?;
    }
    for warning in &read.warnings {
        say(&format!("byte {}: {}", warning.offset, warning.code));
    }
    Ok(code)
}

/// A file's one message and what stands around it.
struct One<'a> {
    before: &'a [u8],
    message: Message,
    after: &'a [u8],
}

impl Input {
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.file == File::new("-") {
            true => io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
            false => std::fs::read(&self.file).map(|read| bytes = read),
        }
        .with_context(|| format!("cannot read {}", self.name()))?;
        Ok(bytes)
    }

    fn name(&self) -> String {
        match self.file == File::new("-") {
            true => "standard input".into(),
            false => self.file.display().to_string(),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Message, crate::hl7::Error> {
        let options = Options {
            charset: self.charset,
            ..Options::default()
        };
        Message::parse_with(bytes, options)
    }

    /// Reads a file of one message, in an envelope or without.
    fn one<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<One<'a>> {
        let read = batch::read(bytes);
        let entry = match read.messages[..] {
            _ if read.envelope.is_empty() => bytes,
            [entry] => entry,
            _ => bail!(
                "{} is a batch of {} messages; `ligature message split` shows where each begins",
                self.name(),
                read.messages.len()
            ),
        };
        ensure!(!entry.is_empty(), "{} is empty", self.name());
        let message = self
            .parse(entry)
            .with_context(|| format!("{} holds no message", self.name()))?;
        let many = read.messages.len();
        if many > 1 {
            say(&format!(
                "{} holds {many} messages and is read as if it were one; see `ligature message split`",
                self.name()
            ));
        }
        let start = offset(bytes, entry);
        Ok(One {
            before: &bytes[..start],
            message,
            after: &bytes[start + entry.len()..],
        })
    }

    fn say_warnings(&self, message: &Message) {
        for warning in message.warnings() {
            say(&format!(
                "{}, byte {}: {}",
                self.name(),
                warning.offset,
                warning.code
            ));
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "ligature: {text}");
}

fn offset(bytes: &[u8], entry: &[u8]) -> usize {
    (entry.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize)
}

fn place(bytes: &[u8], entry: &[u8]) -> String {
    format!("the message at byte {}", offset(bytes, entry))
}

/// A path, or `None` after saying what is wrong with it.
fn read_path(text: &str) -> Option<Path> {
    match text.parse::<Path>() {
        Ok(path) => Some(path),
        Err(error) => {
            say(&format!(
                "{error}\n  {text}\n  {}^",
                " ".repeat(error.at - 1)
            ));
            None
        }
    }
}

/// A path and what to put there, or `None` after saying what is wrong with it.
fn read_edit(edit: &str) -> Option<(Path, &str)> {
    match equals_sign(edit) {
        Some(at) => Some((read_path(&edit[..at])?, &edit[at + 1..])),
        None => {
            // A condition that does not end hides the sign; its path says so better.
            read_path(edit)?;
            say("expected PATH=VALUE, for example PID-5.1=Roe");
            None
        }
    }
}

/// The first `=` that is not part of a condition.
fn equals_sign(edit: &str) -> Option<usize> {
    let (mut in_condition, mut in_text) = (false, false);
    for (at, c) in edit.char_indices() {
        match c {
            '\'' if in_condition => in_text = !in_text,
            _ if in_text => {}
            '[' => in_condition = true,
            ']' => in_condition = false,
            '=' if !in_condition => return Some(at),
            _ => {}
        }
    }
    None
}

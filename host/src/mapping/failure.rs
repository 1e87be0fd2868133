//! How a run ends that maps nothing, each with a sentence that an administrator can act on.
//!
//! No sentence holds patient data: texts that the guest wrote stay in the variants' fields, to be sealed with the
//! delivery and shown only to those who may see it.

use std::fmt;
use std::time::Duration;

use super::engine;
use super::host::State;
use crate::flow::Entity;
use crate::flow::change::Field;
use crate::flow::mapped::Refusal;
use crate::hl7::Path;

/// Why a run ended without a mapping.
#[derive(Clone, PartialEq, Eq)]
pub enum Failure {
    /// The component says no. The texts may hold patient data.
    Refused(Refusal),
    /// The component says that the message must wait until somebody has mended this. The texts may hold patient data.
    Waits(Refusal),
    /// The component broke.
    Trapped(Trap),
    /// The component did not answer in time; trying again may help on a busy machine.
    TimedOut { deadline: Duration },
    /// The component asked for more than it may have.
    OverLimit(Limit),
    /// The component needs something that the release does not grant.
    NotGranted(Access),
    /// The component answered, but with something that the contract does not allow.
    BadAnswer(BadAnswer),
    /// The host could not run the component; not the component's fault. The text is ours.
    Host(String),
}

/// How a component broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// `unreachable`: a panic, an abort, a failed assertion.
    Unreachable,
    StackOverflow,
    MemoryFault,
    Arithmetic,
    /// A text that is not UTF-8, a variant that does not exist, a handle that is not one.
    Protocol,
    Other,
}

/// Which limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Memory or a table of the component.
    Memory { max_bytes: usize },
    /// What it handed over in one call or as its answer.
    Answer { max_bytes: usize },
    /// Instructions, where they are counted: it did not return.
    Fuel,
}

/// What was asked for without a grant. A path is shown without predicates, whose values the guest makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A path, or a field such as `lead.Phone`.
    Read(String),
    Write(Entity),
    /// A place of the outgoing message.
    Place(String),
}

/// What was wrong with an answer; `target` is a name of the manifest or a place, shown as its segment and field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadAnswer {
    /// Not a date or time of the calendar.
    Date,
    /// Not `-?[0-9]+(\.[0-9]+)?`.
    Decimal { target: String },
    /// Two assignments for one target, or two placements of which one is the other or lies in it.
    Twice { target: String },
    /// More activities or placements than any message has.
    TooMany,
    /// A placement whose path is none.
    NotAPath,
    /// A placement that cannot be.
    Place { place: String, reason: &'static str },
}

impl Failure {
    /// A stable word for filters, metrics and the store.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Refused(_) => "mapping-refused",
            Failure::Waits(_) => "mapping-waits",
            Failure::Trapped(_) => "mapping-trapped",
            Failure::TimedOut { .. } => "mapping-timed-out",
            Failure::OverLimit(_) => "mapping-over-limit",
            Failure::NotGranted(_) => "mapping-not-granted",
            Failure::BadAnswer(_) => "mapping-bad-answer",
            Failure::Host(_) => "mapping-host",
        }
    }

    /// Whether the same message may map later with nothing changed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Failure::TimedOut { .. } | Failure::Host(_))
    }

    /// Whether the component broke, or would have gone on for ever: a trap or a limit.
    pub fn is_breakage(&self) -> bool {
        matches!(
            self,
            Failure::Trapped(_) | Failure::TimedOut { .. } | Failure::OverLimit(_)
        )
    }

    /// What the component said of it; may hold patient data.
    pub fn words(&self) -> Option<String> {
        let (Failure::Refused(refusal) | Failure::Waits(refusal)) = self else {
            return None;
        };
        Some(match refusal {
            Refusal::Missing(path) => format!("missing: {path}"),
            Refusal::Malformed { path, expected } => {
                format!("malformed: {path}, expected {expected}")
            }
            Refusal::UnmappedCode { table, code } => format!("no entry in {table} for {code}"),
            Refusal::Other(text) => text.clone(),
        })
    }

    /// What happened and what to do, without patient data.
    pub fn sentence(&self) -> String {
        match self {
            Failure::Refused(refusal) => match refusal {
                Refusal::Missing(path) => {
                    return format!(
                        "the mapping refuses the message: a value that it requires is missing{}; \
                         ask the sender for it or make the row optional",
                        at(path)
                    );
                }
                Refusal::Malformed { .. } => {
                    "the mapping refuses the message: a value is not of the form that it expects; \
                     correct it at the sender or change the row"
                }
                Refusal::UnmappedCode { .. } => {
                    "the mapping refuses the message: a code has no entry in its code table; \
                     add the entry and release the delivery"
                }
                Refusal::Other(_) => {
                    "the mapping refuses the message for a reason of its own; \
                     the reason is kept with the delivery"
                }
            }
            .into(),
            Failure::Waits(refusal) => match refusal {
                Refusal::Missing(path) => {
                    return format!(
                        "the message waits, as its mapping says: a value that it requires is missing{}; \
                         correct it at the sender or make the row optional, then release the delivery",
                        at(path)
                    );
                }
                Refusal::Malformed { .. } => {
                    "the message waits, as its mapping says: a value is not of the form that it expects; \
                     correct it at the sender or change the row, then release the delivery"
                }
                Refusal::UnmappedCode { .. } => {
                    "the message waits, as its mapping says: a code has no entry in its code table; \
                     add the entry and release the delivery"
                }
                Refusal::Other(_) => {
                    "the message waits, as its mapping says, for a reason that is kept with the delivery; \
                     release the delivery when it is mended"
                }
            }
            .into(),
            Failure::Trapped(trap) => format!(
                "the component broke: {}; send its vendor this message's id, or go back to the release before",
                match trap {
                    Trap::Unreachable => "it stopped itself (a panic or a failed check)",
                    Trap::StackOverflow => "it called itself too deeply",
                    Trap::MemoryFault =>
                        "it reached outside its memory, as a component does that calls itself too deeply",
                    Trap::Arithmetic => "it divided by zero or overflowed",
                    Trap::Protocol => "it answered in a form that the contract does not know",
                    Trap::Other => "it ended in a way that the contract does not know",
                }
            ),
            Failure::TimedOut { deadline } => format!(
                "the component did not answer within {} ms; it is tried again, and if it stays slow its vendor should look",
                deadline.as_millis()
            ),
            Failure::OverLimit(Limit::Memory { max_bytes }) => format!(
                "the component asked for more than its {} MiB of memory; raise the limit or ask its vendor",
                max_bytes / (1024 * 1024)
            ),
            Failure::OverLimit(Limit::Answer { max_bytes }) => format!(
                "the component handed over more than {} MiB at once; ask its vendor",
                max_bytes / (1024 * 1024)
            ),
            Failure::OverLimit(Limit::Fuel) => {
                "the component did not come to an end; ask its vendor".into()
            }
            Failure::NotGranted(Access::Read(path)) => format!(
                "the component reads {path}, which this release does not grant; approve the path or use another version"
            ),
            Failure::NotGranted(Access::Write(Entity::Lead)) => {
                "the component writes a lead field that this release does not grant; \
                 approve its targets or use another version"
                    .into()
            }
            Failure::NotGranted(Access::Write(Entity::Activity)) => {
                "the component writes an activity field that this release does not grant; \
                 approve its targets or use another version"
                    .into()
            }
            Failure::NotGranted(Access::Place(place)) => format!(
                "the component fills {place}, which this release does not grant; approve the place or use another version"
            ),
            Failure::BadAnswer(answer) => format!(
                "the component's answer cannot be used: {}; ask its vendor",
                match answer {
                    BadAnswer::Date => "a date or time in it does not exist".into(),
                    BadAnswer::Decimal { target } =>
                        format!("the value for {target:?} is not a decimal number"),
                    BadAnswer::Twice { target } => format!("it assigns {target:?} twice"),
                    BadAnswer::TooMany => "it holds too many activities or values".into(),
                    BadAnswer::NotAPath => "a place in it is no path".into(),
                    BadAnswer::Place { place, reason } =>
                        format!("{place} cannot be filled: {reason}"),
                }
            ),
            Failure::Host(reason) => {
                format!("the host could not run the component: {reason}; it is tried again")
            }
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failure").field(&self.code()).finish()
    }
}

impl Failure {
    /// Tells apart what wasmtime reports as one error.
    pub(crate) fn of(error: &wasmtime::Error, state: &State, deadline: Duration) -> Self {
        use wasmtime::Trap as Code;
        if error.is::<engine::Exceeded>() {
            let max_bytes = state.limits.max_memory_bytes;
            return Failure::OverLimit(Limit::Memory { max_bytes });
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Failure::Host("no free instance in the pool".into());
        }
        let Some(code) = error.downcast_ref::<Code>() else {
            // wasmtime keeps the type of this error to itself; a test holds on to its text.
            let text = error.root_cause().to_string();
            if text.contains("fuel allocated for hostcalls") {
                let max_bytes = engine::MAX_LIFTED_BYTES;
                return Failure::OverLimit(Limit::Answer { max_bytes });
            }
            return Failure::Trapped(Trap::Protocol);
        };
        Failure::Trapped(match code {
            Code::Interrupt => {
                return Failure::TimedOut { deadline };
            }
            Code::OutOfFuel => return Failure::OverLimit(Limit::Fuel),
            Code::UnreachableCodeReached => Trap::Unreachable,
            Code::StackOverflow => Trap::StackOverflow,
            Code::MemoryOutOfBounds | Code::HeapMisaligned | Code::TableOutOfBounds => {
                Trap::MemoryFault
            }
            Code::IntegerOverflow | Code::IntegerDivisionByZero | Code::BadConversionToInteger => {
                Trap::Arithmetic
            }
            _ => Trap::Other,
        })
    }

    /// What it comes down to when a read was denied before: a component that cannot do without says so in its own
    /// way, and the grant is what an administrator can act on.
    pub(crate) fn after(self, denied: Option<Access>) -> Self {
        match (self, denied) {
            (Failure::Refused(_) | Failure::Waits(_) | Failure::Trapped(_), Some(access)) => {
                Failure::NotGranted(access)
            }
            (failure, _) => failure,
        }
    }
}
/// Where a value is missing, in words that hold no patient data; nothing where a component says something else than a
/// place. A place may choose a repetition by a code such as `MR`, but not by what could be a patient's.
fn at(path: &str) -> String {
    let is_code = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    let mut quoted = path.split('\'').skip(1).step_by(2);
    let is_place = path.len() <= 64 && path.parse::<Path>().is_ok();
    let is_field = Field::parse(path).is_some_and(|field| {
        let mut letters = field.name.bytes();
        letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    match is_place && quoted.all(is_code) || is_field {
        true => format!(" ({path})"),
        false => String::new(),
    }
}

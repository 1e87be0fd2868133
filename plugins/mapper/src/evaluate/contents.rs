//! What is read of a message or a change before rows are looked at.

use crate::program::{Fact, Program};
use crate::value::{Content, Refusal};

/// Elements of one loop that are looked at; the host takes no more activities of one message.
const MAX_ELEMENTS: usize = 1_000;

/// Answers what a program asks: across the sandbox's wall in a component, straight from the parsed message natively.
pub trait Reader {
    /// The first hit of each path, in the order asked.
    ///
    /// # Errors
    ///
    /// A refusal that names a path that may not be read.
    fn get_all(&self, paths: &[&str]) -> Result<Vec<Content>, Refusal>;

    /// Every hit of each path, in the order asked.
    ///
    /// # Errors
    ///
    /// As above.
    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<Content>>, Refusal>;

    /// The undecoded text of an element.
    ///
    /// # Errors
    ///
    /// As above.
    fn raw(&self, path: &str) -> Result<Option<String>, Refusal>;

    /// How many segments or repetitions there are.
    ///
    /// # Errors
    ///
    /// As above.
    fn count(&self, path: &str) -> Result<u32, Refusal>;

    /// What is known of the run; none for what it does not have.
    fn fact(&self, fact: Fact) -> Option<String>;

    /// A setting as the administrator filled it in, or its default.
    ///
    /// # Errors
    ///
    /// There is no such setting.
    fn setting(&self, name: &str) -> Result<Option<String>, Refusal>;

    /// A code's entry in a table: its value, or the named column.
    ///
    /// # Errors
    ///
    /// There is no such table or column.
    fn code(
        &self,
        table: &str,
        code: &str,
        column: Option<&str>,
    ) -> Result<Option<String>, Refusal>;
}

/// What the message says at all paths of a program; read it once, then [`evaluate`](crate::evaluate()).
pub struct Contents {
    pub(super) first: Vec<Content>,
    pub(super) hits: Vec<Vec<Content>>,
    loops: Vec<Elements>,
}

/// What the elements of one loop say, one after another.
struct Elements {
    count: usize,
    paths: usize,
    contents: Vec<Content>,
}

impl Contents {
    /// Asks for all paths of `program`: in one crossing, one more for several hits, two for each loop.
    ///
    /// # Errors
    ///
    /// The reader's refusal.
    pub fn read(program: &Program<'_>, reader: &dyn Reader) -> Result<Self, Refusal> {
        let texts = |paths: &[crate::Text<'_>],
                     ask: &mut dyn FnMut(&[&str]) -> Result<(), Refusal>| {
            if paths.is_empty() {
                return Ok(());
            }
            let paths: Vec<&str> = paths.iter().map(|path| &**path).collect();
            ask(&paths)
        };
        let (mut first, mut hits) = (Vec::new(), Vec::new());
        texts(&program.paths, &mut |paths| {
            first = reader.get_all(paths)?;
            Ok(())
        })?;
        texts(&program.hit_paths, &mut |paths| {
            hits = reader.hits(paths)?;
            Ok(())
        })?;
        let mut loops = Vec::with_capacity(program.loops.len());
        for one in &program.loops {
            let count = (reader.count(&one.over)? as usize).min(MAX_ELEMENTS);
            let paths: Vec<String> = (1..=count)
                .flat_map(|number| {
                    let paths = one.paths.iter();
                    paths.map(move |path| numbered(&one.over, path, number))
                })
                .collect();
            let asked: Vec<&str> = paths.iter().map(String::as_str).collect();
            loops.push(Elements {
                count,
                paths: one.paths.len(),
                contents: match asked.is_empty() {
                    true => Vec::new(),
                    false => reader.get_all(&asked)?,
                },
            });
        }
        Ok(Self { first, hits, loops })
    }

    pub(super) fn elements(&self, at: usize) -> usize {
        self.loops.get(at).map_or(0, |elements| elements.count)
    }

    pub(super) fn of_element(&self, (at, position): (usize, usize), path: u16) -> Option<&Content> {
        let elements = self.loops.get(at)?;
        elements
            .contents
            .get(position * elements.paths + usize::from(path))
    }
}

/// `OBX-5` of the third `OBX` is `OBX[3]-5`, `PID-13.4` of the second `PID-13` is `PID-13[2].4`.
pub(super) fn numbered(over: &str, path: &str, number: usize) -> String {
    let behind = path.get(over.len()..).unwrap_or("");
    let mut out = String::with_capacity(path.len() + 6);
    out.push_str(over);
    out.push('[');
    // Without the formatting machinery this is a fraction of the time.
    let mut digits = [0; 5];
    let (mut at, mut rest) = (digits.len(), number.min(99_999));
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits[at..]
        .iter()
        .for_each(|digit| out.push(char::from(*digit)));
    out.push(']');
    out.push_str(behind);
    out
}

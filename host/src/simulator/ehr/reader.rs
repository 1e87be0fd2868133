//! A strict reading of one message: segments and fields as they stand, nothing forgiven that a strict EHR would not.

/// One message, cut at its separators.
pub(super) struct Message<'a> {
    pub(super) segments: Vec<Segment<'a>>,
    pub(super) separators: Separators,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Separators {
    pub(super) component: char,
    pub(super) repetition: char,
    pub(super) escape: char,
}

/// One line: its name and its fields; of MSH, field 1 is the separator itself.
pub(super) struct Segment<'a> {
    pub(super) name: &'a str,
    fields: Vec<&'a str>,
}

impl<'a> Segment<'a> {
    /// From 1 upwards; empty where nothing stands.
    pub(super) fn field(&self, number: usize) -> &'a str {
        self.fields.get(number).copied().unwrap_or_default()
    }

    /// Numbers and texts of all fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.fields.iter().copied().enumerate().skip(1)
    }
}

impl<'a> Message<'a> {
    /// Cuts a text; what is wrong with it as a whole goes to `findings`.
    ///
    /// None where there is no MSH to read it by.
    pub(super) fn read(text: &'a str, findings: &mut Vec<String>) -> Option<Self> {
        if text.contains('\n') {
            findings.push("a line feed: segments end in a carriage return alone".into());
        }
        if !text.ends_with('\r') {
            findings.push("the last segment does not end in a carriage return".into());
        }
        let header = text.strip_prefix("MSH")?;
        let mut letters = header.chars();
        let field = letters.next()?;
        let encoding: Vec<char> = letters.take_while(|c| *c != field && *c != '\r').collect();
        let [component, repetition, escape, _, ..] = encoding.as_slice() else {
            findings.push("MSH-2 has fewer than four characters".into());
            return None;
        };
        let separators = Separators {
            component: *component,
            repetition: *repetition,
            escape: *escape,
        };
        let lines = text.split(['\r', '\n']);
        let mut segments = Vec::new();
        let mut blank = 0;
        for line in lines {
            if line.is_empty() {
                blank += 1;
                continue;
            }
            let mut fields: Vec<&str> = line.split(field).collect();
            let name = fields[0];
            if name == "MSH" {
                // The separator is a field of its own.
                let own = &line[3..3 + field.len_utf8()];
                fields.insert(1, own);
            }
            segments.push(Segment { name, fields });
        }
        // One after the last carriage return.
        if blank > 1 {
            findings.push("an empty line between segments".into());
        }
        Some(Self {
            segments,
            separators,
        })
    }

    pub(super) fn segment(&self, name: &str) -> Option<&Segment<'a>> {
        self.segments.iter().find(|segment| segment.name == name)
    }

    /// A field of the first segment of that name; empty where there is none.
    pub(super) fn field(&self, name: &str, number: usize) -> &'a str {
        self.segment(name)
            .map_or("", |segment| segment.field(number))
    }

    /// The first repetition's component, from 1 upwards, as it stands.
    pub(super) fn component(&self, name: &str, number: usize, component: usize) -> &'a str {
        let field = self.field(name, number);
        let first = field.split(self.separators.repetition).next();
        let mut parts = first.unwrap_or_default().split(self.separators.component);
        parts.nth(component - 1).unwrap_or_default()
    }
}

/// A field of a text, for whoever looks at it afterwards.
pub(super) fn field(text: &str, segment: &str, number: usize) -> String {
    let message = Message::read(text, &mut Vec::new());
    message.map_or_else(String::new, |message| {
        message.field(segment, number).to_owned()
    })
}

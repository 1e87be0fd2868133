//! The text exposition format of Prometheus, version 0.0.4, and what the kernel says of this process.
//!
//! A page of text is all of it, and our numbers are kept by those who make them: a library of metrics would bring a
//! registry of its own beside them.

use std::fmt::Write;

use crate::meter::Histogram;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
}

/// Families of figures, one after another.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    name: String,
}

impl Exposition {
    /// Begins a family; what is added belongs to it.
    pub(super) fn family(&mut self, name: &str, kind: Type, text: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        self.head(name, kind, text);
    }

    /// Begins a family of histograms.
    pub(super) fn histograms(&mut self, name: &str, text: &str) {
        self.head(name, "histogram", text);
    }

    fn head(&mut self, name: &str, kind: &str, text: &str) {
        let _ = writeln!(self.text, "# HELP {name} {text}\n# TYPE {name} {kind}");
        name.clone_into(&mut self.name);
    }

    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        for (bound, count) in histogram.steps() {
            let bound = bound.to_string();
            self.line("_bucket", labels, Some(&bound), count as f64);
        }
        let count = histogram.count() as f64;
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, histogram.sum().as_secs_f64());
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
        let Self { text, name } = self;
        text.push_str(name);
        text.push_str(ending);
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(bound) {
            let _ = write!(text, "{before}{label}=\"{}\"", escaped(value));
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// What this process takes of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub(super) resident_bytes: f64,
    pub(super) open_files: f64,
    pub(super) most_files: Option<f64>,
}

impl Process {
    /// None where there is no `/proc`.
    pub(super) fn read() -> Option<Self> {
        let number = |file: &str, name: &str, at: usize| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(at)?.parse::<f64>().ok()
        };
        Some(Self {
            resident_bytes: number("/proc/self/status", "VmRSS:", 0)? * 1024.0,
            open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            // The soft limit stands first; `unlimited` is none.
            most_files: number("/proc/self/limits", "Max open files", 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_format_has_them() {
        let mut out = Exposition::default();
        out.family("some_total", Type::Counter, "How many.");
        out.add(&[], 2.0);
        out.add(&[("flow", "a\"b\\c\nd"), ("state", "dead")], 0.5);
        assert_eq!(
            out.into_text(),
            "# HELP some_total How many.\n# TYPE some_total counter\nsome_total 2\n\
             some_total{flow=\"a\\\"b\\\\c\\nd\",state=\"dead\"} 0.5\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_of_it() {
        let timings = crate::meter::Timings::default();
        timings.add((), std::time::Duration::from_millis(1_500));
        let mut out = Exposition::default();
        out.histograms("some_seconds", "How long.");
        out.histogram(&[("flow", "a")], &timings.read()[&()]);
        let text = out.into_text();
        for line in [
            "# TYPE some_seconds histogram",
            "some_seconds_bucket{flow=\"a\",le=\"1\"} 0",
            "some_seconds_bucket{flow=\"a\",le=\"2.5\"} 1",
            "some_seconds_bucket{flow=\"a\",le=\"+Inf\"} 1",
            "some_seconds_sum{flow=\"a\"} 1.5",
            "some_seconds_count{flow=\"a\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

//! What a component says of itself.

use crate::bindings::about::exports::ligature::mapping::about;

pub use about::{Kind as SettingKind, Setting, Target};

/// What a component says of itself: made with [`Manifest::new`], then one call for each thing it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest(pub(crate) about::Manifest);

impl Manifest {
    /// A manifest that asks for nothing yet.
    pub fn new(name: &str, version: &str) -> Self {
        Self(about::Manifest {
            name: name.into(),
            version: version.into(),
            vendor: String::new(),
            summary: String::new(),
            events: Vec::new(),
            reads: Vec::new(),
            lead_targets: Vec::new(),
            activity_targets: Vec::new(),
            activity_kinds: Vec::new(),
            places: Vec::new(),
            tables: Vec::new(),
            settings: Vec::new(),
            rows: Vec::new(),
            annotations: Vec::new(),
        })
    }

    /// Who made it.
    pub fn vendor(mut self, vendor: &str) -> Self {
        self.0.vendor = vendor.into();
        self
    }

    /// What it does, in one sentence.
    pub fn summary(mut self, summary: &str) -> Self {
        self.0.summary = summary.into();
        self
    }

    /// Events it is made for, for example `SIU^S12`; none means any.
    pub fn events<'a>(mut self, events: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.events.extend(events.into_iter().map(String::from));
        self
    }

    /// What it reads: HL7 paths (`PID-5` covers everything below it), or `lead.<Schema>` and `activity.<Schema>`.
    pub fn reads<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.reads.extend(paths.into_iter().map(String::from));
        self
    }

    /// A lead value it gives; the administrator binds it to a field of the account, usually `proposed`.
    pub fn lead_target(mut self, name: &str, label: &str, proposed: &str) -> Self {
        self.0.lead_targets.push(target(name, label, proposed));
        self
    }

    /// An activity value it gives; the administrator binds it to a field of the activity type.
    pub fn activity_target(mut self, name: &str, label: &str, proposed: &str) -> Self {
        self.0.activity_targets.push(target(name, label, proposed));
        self
    }

    /// A kind of activity it writes; the administrator binds it to an activity type of the account.
    pub fn activity_kind(mut self, name: &str, label: &str) -> Self {
        self.0.activity_kinds.push(target(name, label, ""));
        self
    }

    /// Marks the targets of this name as ones that every answer gives.
    pub fn required(mut self, name: &str) -> Self {
        let lists = [&mut self.0.lead_targets, &mut self.0.activity_targets];
        for target in lists.into_iter().flatten() {
            target.required |= target.name == name;
        }
        self
    }

    /// HL7 paths that an outbound mapping fills.
    pub fn places<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.places.extend(paths.into_iter().map(String::from));
        self
    }

    /// A code table it looks codes up in; the administrator binds it to a table of the account.
    pub fn table(mut self, name: &str, label: &str) -> Self {
        self.0.tables.push(target(name, label, ""));
        self
    }

    /// A setting that the administrator fills in for each flow.
    pub fn setting(mut self, setting: Setting) -> Self {
        self.0.settings.push(setting);
        self
    }

    /// A rule that [`log::warn`](crate::log::warn) may name, with the target or place that it writes.
    pub fn row(mut self, id: &str, label: &str, target: &str) -> Self {
        self.0.rows.push(about::Row {
            id: id.into(),
            label: label.into(),
            target: target.into(),
        });
        self
    }
}

fn target(name: &str, label: &str, proposed: &str) -> Target {
    Target {
        name: name.into(),
        label: label.into(),
        proposed: (!proposed.is_empty()).then(|| proposed.into()),
        required: false,
    }
}

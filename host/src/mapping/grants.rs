//! What one release lets a component read and write; the only place where that is decided.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::flow::change::Field;
use crate::flow::{Entity, Release};
use crate::hl7::Path;

/// Distinct path texts remembered for one release. A component has some dozens; one that makes up paths without end
/// pays for parsing them each time.
const MAX_REMEMBERED: usize = 1_024;

/// Longest path text that is looked at.
const MAX_PATH_BYTES: usize = 512;

/// The grants of one release, ready to be asked.
pub(crate) struct Granted {
    reads: Vec<Path>,
    lead_fields: HashSet<String>,
    activity_fields: HashSet<String>,
    places: Vec<Path>,
    lead_targets: HashSet<String>,
    activity_targets: HashSet<String>,
    remembered: RwLock<HashMap<String, Arc<Checked>>>,
}

/// What became of one path text.
pub(crate) enum Checked {
    Path(Path),
    NotGranted(Path),
    NotAPath,
}

impl Granted {
    /// Reads the grants of a release; a read that is no path and no field grants nothing.
    pub(crate) fn of(release: &Release) -> Self {
        let grants = &release.grants;
        let paths = |texts: &[String]| texts.iter().filter_map(|path| path.parse().ok()).collect();
        let fields = |entity| {
            let fields = grants.reads.iter().filter_map(|read| Field::parse(read));
            fields
                .filter(|field| field.entity == entity)
                .map(|field| field.name.to_owned())
                .collect()
        };
        Self {
            reads: paths(&grants.reads),
            lead_fields: fields(Entity::Lead),
            activity_fields: fields(Entity::Activity),
            places: paths(&grants.places),
            lead_targets: grants.lead_targets.iter().cloned().collect(),
            activity_targets: grants.activity_targets.iter().cloned().collect(),
            remembered: RwLock::default(),
        }
    }

    /// Parses a path text and decides whether it may be read, predicates included.
    pub(crate) fn check(&self, text: &str) -> Arc<Checked> {
        let remembered = self.remembered.read();
        if let Some(checked) = remembered.unwrap_or_else(PoisonError::into_inner).get(text) {
            return checked.clone();
        }
        let checked = Arc::new(self.decide(text));
        let remembered = self.remembered.write();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(text.into(), checked.clone());
        }
        checked
    }

    fn decide(&self, text: &str) -> Checked {
        if text.len() > MAX_PATH_BYTES {
            return Checked::NotAPath;
        }
        let Ok(path) = text.parse::<Path>() else {
            return Checked::NotAPath;
        };
        let granted = path
            .reads()
            .iter()
            .all(|read| self.reads.iter().any(|grant| grant.covers(read)));
        if granted {
            Checked::Path(path)
        } else {
            Checked::NotGranted(path)
        }
    }

    /// Whether anything of a segment may be read.
    pub(crate) fn segment(&self, name: &str) -> bool {
        self.reads.iter().any(|grant| grant.segment() == name)
    }

    /// Whether a field of LeadSquared may be read.
    pub(crate) fn field(&self, field: Field<'_>) -> bool {
        match field.entity {
            Entity::Lead => self.lead_fields.contains(field.name),
            Entity::Activity => self.activity_fields.contains(field.name),
        }
    }

    /// Whether a place of an outgoing message may be filled.
    pub(crate) fn place(&self, path: &Path) -> bool {
        self.places.iter().any(|grant| grant.covers(path))
    }

    /// Whether a target may be written.
    pub(crate) fn target(&self, entity: Entity, name: &str) -> bool {
        match entity {
            Entity::Lead => self.lead_targets.contains(name),
            Entity::Activity => self.activity_targets.contains(name),
        }
    }
}

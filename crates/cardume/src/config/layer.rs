//! Layers: what one source says, as values and where each was written.
use std::collections::BTreeMap;

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use super::Place;

/// Keys from the outermost table to a value.
pub(crate) type Path = Vec<String>;

/// What one file, the environment, or the command line says.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Tells this layer from the others of a chain.
    pub(super) name: String,
    pub(super) values: Dict,
    pub(super) places: BTreeMap<Path, Place>,
}

impl Layer {
    /// Where `path`, or else the nearest table around it, was written.
    pub(super) fn place(&self, path: &[String]) -> Option<&Place> {
        (0..=path.len())
            .rev()
            .find_map(|end| self.places.get(path.get(..end)?))
    }

    /// Sets one value, making tables as needed. `None` where a table would have to replace a value.
    pub(super) fn set(&mut self, path: &[String], value: Value, place: Place) -> Option<()> {
        let (last, tables) = path.split_last()?;
        let mut table = &mut self.values;
        for name in tables {
            let next = table.entry(name.clone()).or_insert_with(|| Dict::new().into());
            let Value::Dict(_, inner) = next else { return None };
            table = inner;
        }
        table.insert(last.clone(), value);
        self.places.insert(path.to_vec(), place);
        Some(())
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

//! The chain: every source of configuration, merged in order, each value remembering where it came from.
use std::{
    collections::BTreeMap,
    path::{Path as FilePath, PathBuf},
};

use cardume_node::Config;
use figment::{
    Figment,
    value::{Dict, Value},
};

use super::{
    Environment, MAX_MISTAKES, Mistake, Mistakes, Place, check, given,
    layer::{Layer, Path},
    locate, parse,
    wording::reword,
};

/// What the command line says about configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// `--config`
    pub(crate) file: Option<PathBuf>,
    /// `--set`, in order.
    pub(crate) set: Vec<String>,
    /// `--data-dir`
    pub(crate) data_dir: Option<PathBuf>,
}

/// Where a packager puts defaults of a distribution.
pub(crate) const VENDOR_DIR: &str = "/usr/lib/cardume/conf.d";

/// A configuration that has been read, merged and checked.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) config: Config,
    /// Files that were read, in the order in which they count.
    pub(crate) files: Vec<PathBuf>,
    /// Every value by its path, with the place it comes from.
    pub(crate) values: BTreeMap<Path, (Value, Place)>,
}

/// Reads, merges and checks everything there is.
///
/// # Errors
/// All mistakes of all sources; those that need the whole are looked for once each part is right.
pub(crate) fn load(given: &Given, environment: &Environment, vendor: &FilePath) -> Result<Chain, Mistakes> {
    let mut mistakes = Vec::new();
    let mut layers = Vec::new();
    let mut files = Vec::new();
    for path in sources(given, environment, vendor, &mut mistakes) {
        match parse::file(&path) {
            Ok(layer) => layers.push(layer),
            Err(found) => mistakes.extend(found),
        }
        files.push(path);
    }
    let from_variables = given::environment(&environment.variables);
    let from_options = given::options(&given.set).map(|mut layer| {
        add_data_dir(&mut layer, given.data_dir.as_deref());
        layer
    });
    for layer in [from_variables, from_options] {
        match layer {
            Ok(layer) => layers.push(layer),
            Err(found) => mistakes.extend(found),
        }
    }
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let merged = Merged::new(layers)?;
    let config = merged.extract(&mut mistakes);
    for problem in config.iter().flat_map(check::whole) {
        let reason = format!("{}: {}", problem.path.join("."), problem.reason);
        mistakes.push(Mistake::new(merged.place(&problem.path), reason).hint(problem.hint));
    }
    let (Some(config), true) = (config, mistakes.is_empty()) else {
        return Err(Mistakes(mistakes));
    };
    let values = merged.values();
    Ok(Chain {
        config,
        files,
        values,
    })
}

/// Files to read, in the order in which they count.
fn sources(
    given: &Given,
    environment: &Environment,
    vendor: &FilePath,
    mistakes: &mut Vec<Mistake>,
) -> Vec<PathBuf> {
    let (file, named) = environment.config_file(given.file.as_deref());
    let beside = file.parent().unwrap_or_else(|| FilePath::new("")).join("conf.d");
    let mut drop_ins = |directory: &FilePath| {
        locate::drop_ins(directory).unwrap_or_else(|error| {
            let place = Place::WholeFile {
                file: directory.to_path_buf(),
            };
            mistakes.push(Mistake::new(place, format!("cannot read: {error}")));
            Vec::new()
        })
    };
    let mut files = drop_ins(vendor);
    if named || !matches!(file.try_exists(), Ok(false)) {
        files.push(file);
    }
    files.extend(drop_ins(&beside));
    files
}

fn add_data_dir(layer: &mut Layer, data_dir: Option<&FilePath>) {
    if let Some(path) = data_dir {
        let place = Place::Option {
            option: format!("--data-dir {}", path.display()),
        };
        let key = ["node".to_owned(), "data_dir".to_owned()];
        layer
            .set(&key, path.to_string_lossy().into_owned().into(), place)
            .expect("the typed options keep [node] a table");
    }
}

/// All layers on top of the defaults.
struct Merged {
    figment: Figment,
    layers: Vec<Layer>,
    root: Dict,
}

impl Merged {
    fn new(layers: Vec<Layer>) -> Result<Self, Mistakes> {
        let whole = |error: figment::Error| Mistakes(vec![Mistake::new(Place::Default, error.to_string())]);
        let defaults = Value::serialize(Config::default()).map_err(whole)?;
        let defaults = Layer {
            name: "defaults".into(),
            values: defaults.into_dict().unwrap_or_default(),
            places: BTreeMap::new(),
        };
        let mut figment = Figment::from(&defaults);
        for layer in &layers {
            figment = figment.merge(layer);
        }
        let root = figment
            .find_value("")
            .map_err(whole)?
            .into_dict()
            .unwrap_or_default();
        Ok(Self {
            figment,
            layers,
            root,
        })
    }

    /// The typed whole, without what is noted as a mistake.
    fn extract(&self, mistakes: &mut Vec<Mistake>) -> Option<Config> {
        let mut root = self.root.clone();
        for _ in 0..MAX_MISTAKES {
            let error = match Value::from(root.clone()).deserialize() {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let wording = reword(&error.kind.to_string(), &error.path);
            let reason = format!("{}: {}", error.path.join("."), wording.reason);
            mistakes.push(Mistake::new(self.place(&error.path), reason).hint(wording.hint));
            if !take_out(&mut root, &error.path) {
                break;
            }
        }
        None
    }

    /// Where the value at `path`, or the table around it, was written last.
    fn place(&self, path: &[String]) -> Place {
        (1..=path.len())
            .rev()
            .find_map(|end| self.place_of(path.get(..end)?))
            .unwrap_or(Place::Default)
    }

    fn place_of(&self, path: &[String]) -> Option<Place> {
        let (last, tables) = path.split_last()?;
        let mut table = &self.root;
        for name in tables {
            table = table.get(name)?.as_dict()?;
        }
        let metadata = self.figment.get_metadata(table.get(last)?.tag())?;
        let layer = self.layers.iter().find(|layer| metadata.name == layer.name)?;
        layer.place(path).cloned()
    }

    fn values(&self) -> BTreeMap<Path, (Value, Place)> {
        let mut values = BTreeMap::new();
        let mut waiting = vec![(Path::new(), &self.root)];
        while let Some((path, table)) = waiting.pop() {
            for (name, value) in table {
                let mut path = path.clone();
                path.push(name.clone());
                match value {
                    Value::Dict(_, inner) => waiting.push((path, inner)),
                    value => {
                        let place = self.place(&path);
                        values.insert(path, (value.clone(), place));
                    }
                }
            }
        }
        values
    }
}

fn take_out(table: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [name] => table.remove(name).is_some(),
        [name, rest @ ..] => match table.get_mut(name) {
            Some(Value::Dict(_, inner)) => take_out(inner, rest),
            Some(_) => table.remove(name).is_some(),
            None => false,
        },
    }
}

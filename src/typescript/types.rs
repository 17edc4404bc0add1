//! The types that a declaration needs, each once.

use std::{
    any::TypeId,
    collections::{BTreeMap, HashSet},
    fmt,
    path::PathBuf,
};

use ts_rs::{Config, TS, TypeVisitor};

use super::{TypeScriptError, text};
use crate::{Room, SocketId, typed::Binary};

/// Collects declarations. Opaque.
#[doc(hidden)]
pub struct Types<'a> {
    pub(super) config: &'a Config,
    seen: HashSet<TypeId>,
    declared: BTreeMap<String, String>,
    clash: Option<String>,
}

impl fmt::Debug for Types<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Types").field("declared", &self.declared).finish_non_exhaustive()
    }
}

impl<'a> Types<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config, seen: HashSet::new(), declared: BTreeMap::new(), clash: None }
    }

    /// The name of a type, whose declaration is kept with those of all that it is made of.
    pub(super) fn name<T: TS + 'static>(&mut self) -> String {
        self.visit::<T>();
        T::name(self.config)
    }

    /// The declarations, by name.
    pub(super) fn finish(self, contract: &str) -> Result<Vec<String>, TypeScriptError> {
        let own = text::own_names(contract);
        let taken = self.declared.keys().find(|name| own.contains(name)).cloned();
        match self.clash.or(taken) {
            Some(name) => Err(TypeScriptError::Clash { name }),
            None => Ok(self.declared.into_values().collect()),
        }
    }
}

impl TypeVisitor for Types<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        if T::output_path().is_some() {
            let docs = T::docs().unwrap_or_default();
            let declaration = format!("{docs}export {}\n", T::decl(self.config));
            let name = T::ident(self.config);
            // The same type with other parameters has the same declaration.
            if self.declared.get(&name).is_some_and(|other| *other != declaration) {
                self.clash.get_or_insert_with(|| name.clone());
            }
            self.declared.insert(name, declaration);
        }
        T::visit_generics(self);
        T::visit_dependencies(self);
    }
}

macro_rules! text {
    ($($name:ty),*) => {$(
        impl TS for $name {
            type WithoutGenerics = Self;
            type OptionInnerType = Self;

            fn name(_: &Config) -> String {
                "string".into()
            }

            fn inline(config: &Config) -> String {
                Self::name(config)
            }
        }
    )*};
}

text!(SocketId, Room);

impl TS for Binary {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn docs() -> Option<String> {
        let docs = "/** Bytes. Browsers receive an `ArrayBuffer`, Node.js a `Buffer`. */\n";
        Some(docs.into())
    }

    fn name(_: &Config) -> String {
        "Binary".into()
    }

    fn inline(_: &Config) -> String {
        "ArrayBuffer | Uint8Array".into()
    }

    fn decl(config: &Config) -> String {
        format!("type Binary = {};", Self::inline(config))
    }

    fn decl_concrete(config: &Config) -> String {
        Self::decl(config)
    }

    fn output_path() -> Option<PathBuf> {
        Some("Binary.ts".into())
    }
}

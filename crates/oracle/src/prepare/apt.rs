//! Downloading from Debian with a configuration of our own: own lists, own cache, the machine's mirror and keys.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::{Package, Suite};
use super::unpack::fresh;
use crate::error::Named;
use crate::host::output_of;
use crate::{Cache, Error};

/// Comes with every Debian, and with no other system: a second check that the packages are Debian's.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The package lists of one suite.
pub(super) struct Lists {
    suite: &'static str,
    configuration: PathBuf,
}

/// A package in its newest version.
pub(super) struct Found {
    pub name: String,
    pub version: String,
}

impl Lists {
    /// Reads the suite's lists anew.
    pub(super) fn update(cache: &Cache, suite: &Suite) -> Result<Self, Error> {
        let folder = cache.apt(suite.name);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(folder.join(part)).named("create", &folder.join(part))?;
        }
        let mut sources = String::new();
        for (archive, name) in suite.archives {
            let mirror = mirror_of(archive)?;
            writeln!(sources, "deb [signed-by={KEYRING}] {mirror} {name} main").expect("a string grows");
        }
        let sources_path = folder.join("sources.list");
        std::fs::write(&sources_path, sources).named("write", &sources_path)?;
        let configuration = folder.join("apt.conf");
        std::fs::write(&configuration, configured(&folder)).named("write", &configuration)?;

        let lists = Self { suite: suite.name, configuration };
        lists.apt("apt-get", &["update", "-q", "-o", "APT::Update::Error-Mode=any"])?;
        Ok(lists)
    }

    /// The newest version of `package` here.
    pub(super) fn newest(&self, package: &Package) -> Result<Found, Error> {
        let names = self.apt("apt-cache", &["pkgnames", package.prefix])?;
        let name = names
            .lines()
            .filter(|name| package.version_in(name).is_some())
            .max_by_key(|name| package.version_in(name))
            .ok_or_else(|| Error::Unexpected {
                what: format!("Debian {}", self.suite),
                expected: "a package of this name",
                found: format!("no {}*{}", package.prefix, package.suffix.unwrap_or("")),
            })?;
        // Of the installed and the offered versions `policy` prefers the installed one; `madison` lists the offer.
        let offer = self.apt("apt-cache", &["madison", name])?;
        let version = offer.lines().next().and_then(|line| line.split('|').nth(1)).map(str::trim);
        let version = version.ok_or_else(|| Error::Unexpected {
            what: format!("apt-cache madison {name}"),
            expected: "package | version | source",
            found: offer.clone(),
        })?;
        Ok(Found { name: name.to_owned(), version: version.to_owned() })
    }

    /// Downloads `found` in place of an older one.
    pub(super) fn download(&self, cache: &Cache, package: &Package, found: &Found) -> Result<(), Error> {
        let folder = cache.packages(self.suite).join(package.folder());
        fresh(&folder)?;
        let wanted = format!("{}={}", found.name, found.version);
        output_of(self.command("apt-get").args(["download", "-q", &wanted]).current_dir(&folder))?;
        Ok(())
    }

    fn apt(&self, program: &str, words: &[&str]) -> Result<String, Error> {
        output_of(self.command(program).args(words))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }
}

/// The apt configuration that keeps to `folder`.
fn configured(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"Dir::State "{folder}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"#
    )
}

/// Where this machine's own apt gets an archive from, since a mirror near by may be the only one it can reach.
fn mirror_of(archive: &str) -> Result<String, Error> {
    let words = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let uris = output_of(Command::new("apt-get").args(words))?;
    let ends = format!("/{archive}");
    let own = uris.lines().find(|uri| uri.trim_end_matches('/').ends_with(&ends)).map(str::to_owned);
    own.ok_or(Error::Unexpected {
        what: "the sources of this machine's apt".to_owned(),
        expected: "one of Debian's archives, with its lists updated",
        found: format!("none whose address ends in {ends}"),
    })
}

//! Images that real kernels made, each beside the recipe that made it.
//!
//! The folder `golden/` of the repository has one folder an image; its README.md describes the files. Another such
//! folder may lie beside the repository, at `../shared/golden` or where `ASHLAR_GOLDEN` says: a larger set that
//! tests use in addition and never need.

mod content;
mod make;
mod recipe;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use content::{Content, sha256};
pub use make::{Made, make, read_back};
pub use recipe::Recipe;

use crate::cache::repository;
use crate::error::Named;
use crate::{Error, left_out};

/// One folder of golden images: the members of an array as a kernel left them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name of the folder, such as `raid1-1.2`.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
}

/// The images of the repository, and the larger set where there is one; else its absence is noted as left out.
pub fn all() -> Result<Vec<Image>, Error> {
    let mut images = own()?;
    images.extend(shared()?);
    Ok(images)
}

/// The images of the repository, in the order of their names.
pub fn own() -> Result<Vec<Image>, Error> {
    images_in(&own_folder(), "images.tar.zst")
}

/// The names of all recipes of the repository, of images that are not made yet too.
pub fn recipes() -> Result<Vec<String>, Error> {
    Ok(images_in(&own_folder(), "recipe.sh")?.into_iter().map(|image| image.name).collect())
}

/// The larger set beside the repository; where there is none, that is noted and the list is empty.
pub fn shared() -> Result<Vec<Image>, Error> {
    let beside = || repository().join("../shared/golden");
    let folder = std::env::var_os("ASHLAR_GOLDEN").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        left_out::note("the larger set of golden images", &"there is no folder ../shared/golden");
        return Ok(Vec::new());
    }
    images_in(&folder, "images.tar.zst")
}

/// The image of this name, of the repository or of the larger set.
pub fn find(name: &str) -> Result<Image, Error> {
    let in_set = |images: Vec<Image>| images.into_iter().find(|image| image.name == name);
    if let Some(image) = in_set(own()?) {
        return Ok(image);
    }
    in_set(shared()?).ok_or_else(|| Error::Unexpected {
        what: "the golden images".into(),
        expected: "an image of this name",
        found: name.to_owned(),
    })
}

/// Unpacks the members of the image of this name into `folder`: `d0.img`, `d1.img`, ...
pub fn unpack(name: &str, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    find(name)?.unpack(folder)
}

impl Image {
    /// Unpacks all members into `folder`, compares them with members.sha256 and returns their paths in order.
    pub fn unpack(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let archive = self.folder.join("images.tar.zst");
        let file = File::open(&archive).named("open", &archive)?;
        let mut plain = zstd::Decoder::new(file).named("read", &archive)?;
        plain.window_log_max(content::WINDOW_LOG_MAX).named("read", &archive)?;
        tar::Archive::new(plain).unpack(folder).named("unpack", &archive)?;
        self.members()?.into_iter().map(|member| self.checked(member, folder)).collect()
    }

    /// What members.sha256 says of each member, `d0.img` first.
    pub fn members(&self) -> Result<Vec<Content>, Error> {
        self.table("members.sha256")
    }

    /// What the kernel read from the assembled array: of several devices or moments, one each.
    pub fn content(&self) -> Result<Vec<Content>, Error> {
        self.table("content.sha256")
    }

    /// How it was made. Only images of the repository have a recipe.
    pub fn recipe(&self) -> Result<Recipe, Error> {
        Recipe::read(&self.folder.join("recipe.sh"))
    }

    fn checked(&self, member: Content, folder: &Path) -> Result<PathBuf, Error> {
        let path = folder.join(&member.name);
        let found = sha256(&std::fs::read(&path).named("read", &path)?);
        if found == member.sha256 {
            return Ok(path);
        }
        Err(Error::Golden { name: self.name.clone(), file: member.name, found, expected: member.sha256 })
    }

    fn table(&self, name: &str) -> Result<Vec<Content>, Error> {
        let path = self.folder.join(name);
        std::fs::read_to_string(&path).named("read", &path)?.lines().map(str::parse).collect()
    }
}

fn own_folder() -> PathBuf {
    repository().join("golden")
}

/// Every folder below `folder` that has a file of the name `file`.
fn images_in(folder: &Path, file: &str) -> Result<Vec<Image>, Error> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder).named("list", folder)? {
        let entry = entry.named("list", folder)?;
        if entry.path().join(file).is_file() {
            images
                .push(Image { name: entry.file_name().to_string_lossy().into_owned(), folder: entry.path() });
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

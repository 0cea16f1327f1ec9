//! Making an image anew: the recipe's kernel makes the members, and reads the array back from them.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Content, Image, Recipe, own_folder, sha256};
use crate::error::Named;
use crate::judge::{PART, parts};
use crate::{Assembly, DiskOpts, Error, Kernel, Run};

/// How hard the compressor tries: the slowest of its ordinary levels, since an image is made once and cloned often.
const COMPRESSION_LEVEL: i32 = 19;

/// What came of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The image.
    pub image: Image,
    /// What the kernel reads from it.
    pub content: Content,
    /// What content.sha256 said before, if that was something else.
    pub before: Option<Content>,
}

/// Makes the image `name` of the repository anew from its recipe: writes images.tar.zst, members.sha256,
/// content.sha256 and made-by.txt. Superblocks hold random identifiers and times, so the members' hashes change each
/// time; the content's must not.
pub fn make(name: &str) -> Result<Made, Error> {
    let image = Image { name: name.to_owned(), folder: own_folder().join(name) };
    let recipe = image.recipe()?;
    let work = tempfile::tempdir().named("create", &std::env::temp_dir())?;
    let paths: Vec<PathBuf> =
        (0..recipe.disks_bytes.len()).map(|number| work.path().join(format!("d{number}.img"))).collect();

    let head = format!("{}\nuname -sr; mdadm --version 2>&1; echo '{PART}recipe'\n", recipe.before);
    let mut run = Run::new(recipe.kernel).mdadm(&recipe.mdadm).script(format!("{head}{}", recipe.script));
    for (path, &bytes) in paths.iter().zip(&recipe.disks_bytes) {
        run = run.disk(path, DiskOpts::default().size_bytes(bytes));
    }
    let said = run.run()?.success()?.stdout;
    let versions = said.split_once(PART).map_or("", |(versions, _)| versions);
    let content_made: Option<Content> = parts(&said)[0].lines().find_map(|line| line.parse().ok());

    let content = read_back(name, &recipe, recipe.kernel, &paths)?;
    if let Some(made) = content_made
        && made != content
    {
        let what = format!("golden {name}, read back from its members");
        let expected = "what was read while it was made";
        return Err(Error::Unexpected { what, expected, found: content.to_string() });
    }

    let before = image.content().ok().and_then(|lines| lines.into_iter().next());
    pack(&image.folder.join("images.tar.zst"), &paths)?;
    let write = |name: &str, text: String| {
        let path = image.folder.join(name);
        std::fs::write(&path, text).named("write", &path)
    };
    write("members.sha256", table(&paths)?)?;
    write("content.sha256", format!("{content}\n"))?;
    write("made-by.txt", versions.to_owned())?;
    Ok(Made { image, before: before.filter(|before| *before != content), content })
}

/// What `kernel` reads from the disks of the image of this name, made by this recipe. They stay as they are.
pub fn read_back(name: &str, recipe: &Recipe, kernel: Kernel, paths: &[PathBuf]) -> Result<Content, Error> {
    let members = recipe.members.iter().map(|&number| &paths[number]);
    if recipe.open.is_empty() {
        let read = Assembly::new(kernel, members).mdadm(&recipe.mdadm).before(&recipe.before).run()?;
        return Ok(Content { sha256: read.sha256, name: "/dev/md0".to_owned(), size_bytes: read.size_bytes });
    }
    let script = format!("{}\n{{ {}; }} || exit 1\ncontent /dev/bcache0\n", recipe.before, recipe.open);
    let run = Run::new(kernel).mdadm(&recipe.mdadm).script(script);
    let said = run.disks(members, &DiskOpts::default().snapshot()).run()?.success()?.stdout;
    let unreadable = || Error::Unexpected {
        what: format!("golden {name}, read back from its members"),
        expected: "a line with hash, name and size",
        found: said.clone(),
    };
    said.lines().find_map(|line| line.parse().ok()).ok_or_else(unreadable)
}

/// An archive that depends on the members alone, not on when and by whom it was packed.
fn pack(archive: &Path, members: &[PathBuf]) -> Result<(), Error> {
    let file = File::create(archive).named("create", archive)?;
    let mut packed = zstd::Encoder::new(file, COMPRESSION_LEVEL).named("write", archive)?;
    packed
        .long_distance_matching(true)
        .and_then(|()| packed.window_log(super::content::WINDOW_LOG_MAX))
        .named("write", archive)?;
    let mut tar = tar::Builder::new(packed);
    for member in members {
        let bytes = std::fs::read(member).named("read", member)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let name = member.file_name().expect("d0.img and so on");
        tar.append_data(&mut header, name, bytes.as_slice()).named("write", archive)?;
    }
    tar.into_inner().and_then(zstd::Encoder::finish).named("write", archive)?;
    Ok(())
}

fn table(members: &[PathBuf]) -> Result<String, Error> {
    let mut text = String::new();
    for member in members {
        let bytes = std::fs::read(member).named("read", member)?;
        let name = member.file_name().expect("d0.img and so on").to_string_lossy().into_owned();
        let line = Content { sha256: sha256(&bytes), name, size_bytes: bytes.len() as u64 };
        text.push_str(&format!("{line}\n"));
    }
    Ok(text)
}

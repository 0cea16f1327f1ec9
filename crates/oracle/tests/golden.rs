//! The golden images: whole, and read by every kernel as by the one that made them.

use oracle::{Kernel, golden, left_out, required};

#[test]
fn every_recipe_has_its_image_and_every_image_its_content() {
    let images = golden::own().unwrap();
    let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(golden::recipes().unwrap(), names);
    for image in images {
        let folder = tempfile::tempdir().unwrap();
        let recipe = image.recipe().unwrap();
        let paths = image.unpack(folder.path()).unwrap();
        let sizes: Vec<u64> = paths.iter().map(|path| path.metadata().unwrap().len()).collect();
        assert_eq!(sizes, recipe.disks_bytes, "{}", image.name);
        assert_eq!(image.content().unwrap().len(), 1, "{}", image.name);
    }
}

#[test]
fn a_member_that_is_not_as_its_hash_says_is_refused() {
    let original = golden::find("raid1-1.2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for file in ["images.tar.zst", "members.sha256"] {
        std::fs::copy(original.folder.join(file), folder.path().join(file)).unwrap();
    }
    let list = folder.path().join("members.sha256");
    let right = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, right.replacen(&right[..64], &"0".repeat(64), 1)).unwrap();
    let image = golden::Image { name: "wrong".into(), folder: folder.path().to_owned() };
    let refused = image.unpack(folder.path()).unwrap_err().to_string();
    assert!(refused.starts_with("golden wrong: d0.img has sha256"), "{refused}");
}

#[test]
fn every_kernel_reads_the_same_content() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let mut images = golden::own().unwrap();
    if !left_out::has_time() {
        // Nothing of ashlar has a part in it, so it changes only when images do.
        let why =
            "they take minutes, and only a new image can change it; `cargo xtask oracle test` takes all";
        left_out::note("five of six golden images read by the kernel once more", &why);
        images = images.into_iter().step_by(6).collect();
    }
    // Two guests at a time: a guest has one processor and waits for its disks in between.
    std::thread::scope(|scope| {
        for half in images.chunks(images.len().div_ceil(2)) {
            scope.spawn(move || half.iter().for_each(|image| reads_the_same_content(boot.kernel, image)));
        }
    });
}

fn reads_the_same_content(kernel: Kernel, image: &golden::Image) {
    let recipe = image.recipe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let paths = image.unpack(folder.path()).unwrap();
    let read = golden::read_back(&image.name, &recipe, kernel, &paths);
    if knows(kernel, &image.name) {
        let read = read.unwrap_or_else(|error| panic!("{}: {error}", image.name));
        assert_eq!(read.sha256, image.content().unwrap()[0].sha256, "{}", image.name);
    } else {
        assert!(read.is_err(), "the {kernel} kernel took {}", image.name);
    }
}

/// Linear was taken out of Linux in 6.8, and only the newest kernel takes a superblock with a logical block size.
fn knows(kernel: Kernel, image: &str) -> bool {
    match image {
        "linear-1.2" => matches!(kernel, Kernel::Uml | Kernel::K6_1),
        "raid1-1.2-k7.2" => kernel == Kernel::K7_2,
        _ => true,
    }
}

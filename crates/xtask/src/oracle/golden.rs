//! `cargo xtask oracle golden`: making golden images anew.

use ::oracle::golden;

/// Makes one image, or all of those that the repository has a recipe for.
pub fn run(name: Option<&str>) -> anyhow::Result<()> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => golden::recipes()?,
    };
    for name in names {
        let made = golden::make(&name)?;
        println!("{name}: {}", made.content);
        if let Some(before) = made.before {
            println!("  this is not the content it had: {before}");
        }
    }
    Ok(())
}

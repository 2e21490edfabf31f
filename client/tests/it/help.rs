//! The whole help, of every command, in one file that is read when it changes.

use crate::support::wharf::Wharf;

#[test]
fn the_help_of_every_command_is_as_written_down() {
    let wharf = Wharf::new();
    let program = wharf.ok(&["--help"]);
    let mut text = program.clone();
    for line in program
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
    {
        let name = line.split_whitespace().next().unwrap();
        if name.starts_with('-') {
            continue;
        }
        let help = wharf.ok(&[name, "--help"]);
        text.push_str(&format!("\n=== wharf {name}\n{help}"));
    }
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("help", text);
    });
}

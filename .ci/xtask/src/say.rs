//! The only printing of `cargo x`: what it does on stdout, what went wrong on stderr.

use std::process::Command;

/// Prints one line or block as it is.
#[expect(clippy::print_stdout, reason = "the one place that prints")]
pub fn line(text: &str) {
    println!("{text}");
}

/// Announces a part of the work.
pub fn step(text: &str) {
    line(&format!("\n== {text}"));
}

/// Shows a command as a user would type it.
pub fn typed(command: &str) {
    line(&format!("$ {command}"));
}

/// Shows a program that is about to run.
pub fn running(command: &Command) {
    typed(&shown(command));
}

/// Says what went wrong.
#[expect(clippy::print_stderr, reason = "the one place that prints")]
pub fn error(text: &str) {
    eprintln!("error: {text}");
}

/// A command as it would be typed in a shell: its name, its arguments quoted where they need it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted_into_a_shell() {
        let mut command = Command::new("echo");
        command.args(["plain", "two words", "", "it's", "$HOME"]);
        assert_eq!(shown(&command), r"echo plain 'two words' '' 'it'\''s' '$HOME'");
    }
}

//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::Model;

/// What a key asks of the program, beyond what the model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Quit,
    /// Other groups.
    Group,
    /// The recorded round that is so far away.
    Round(isize),
}

/// Does what a key says.
pub(super) fn press(key: KeyEvent, model: &mut Model, is_replay: bool) -> Asked {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Asked::Quit,
            _ => Asked::Nothing,
        };
    }
    if model.is_searching {
        search(key.code, model);
        return Asked::Nothing;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::F(10) => return Asked::Quit,
        KeyCode::Char('g') if !is_replay => return Asked::Group,
        KeyCode::Left if is_replay => return Asked::Round(-1),
        KeyCode::Right if is_replay => return Asked::Round(1),
        KeyCode::Left => model.sort_by_next(-1),
        KeyCode::Right | KeyCode::F(6) | KeyCode::Char('s') => model.sort_by_next(1),
        KeyCode::Up | KeyCode::Char('k') => model.select(-1),
        KeyCode::Down | KeyCode::Char('j') => model.select(1),
        KeyCode::PageUp => model.select(-20),
        KeyCode::PageDown => model.select(20),
        KeyCode::Home => model.select(isize::MIN),
        KeyCode::End => model.select(isize::MAX),
        KeyCode::Char('I') => model.is_inverted = !model.is_inverted,
        KeyCode::Char(' ') => model.is_paused = !model.is_paused,
        KeyCode::Char('/') | KeyCode::F(3) => model.is_searching = true,
        _ => {}
    }
    Asked::Nothing
}

fn search(key: KeyCode, model: &mut Model) {
    match key {
        KeyCode::Enter => model.is_searching = false,
        KeyCode::Esc => {
            model.is_searching = false;
            model.search.clear();
        }
        KeyCode::Backspace => drop(model.search.pop()),
        KeyCode::Char(c) => model.search.push(c),
        _ => {}
    }
    model.selected = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_go_to_a_search_until_it_ends() {
        let mut model = Model::new();
        for code in ["/", "q", "I"].map(|text| KeyCode::Char(text.chars().next().unwrap())) {
            assert_eq!(press(key(code), &mut model, false), Asked::Nothing);
        }
        assert_eq!((model.search.as_str(), model.is_inverted), ("qI", false));
        press(key(KeyCode::Backspace), &mut model, false);
        press(key(KeyCode::Enter), &mut model, false);
        assert_eq!((model.search.as_str(), model.is_searching), ("q", false));
        assert_eq!(press(key(KeyCode::Char('q')), &mut model, false), Asked::Quit);
    }

    #[test]
    fn the_arrows_sort_what_is_live_and_step_through_what_was_recorded() {
        let mut model = Model::new();
        let before = model.sort;
        assert_eq!(press(key(KeyCode::Right), &mut model, true), Asked::Round(1));
        assert_eq!(model.sort, before);
        assert_eq!(press(key(KeyCode::Right), &mut model, false), Asked::Nothing);
        assert_ne!(model.sort, before);
        let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(end, &mut model, false), Asked::Quit);
    }
}

//! Which `?` is which.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr as Ast, Value, VisitMut, VisitorMut};
use sqlparser::tokenizer::Location;

/// Numbers the `?` of a statement in the order they are written (`?0`, `?1` …), as `Scope::parameter` wants them, and
/// returns how many there are.
pub fn number_placeholders<T: VisitMut>(statement: &mut T) -> usize {
    struct Places {
        found: Vec<Location>,
        numbers: Option<HashMap<Location, usize>>,
    }
    impl VisitorMut for Places {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Ast) -> ControlFlow<()> {
            if let Ast::Value(value) = expr
                && let Value::Placeholder(text) = &mut value.value
            {
                match &self.numbers {
                    None => self.found.push(value.span.start),
                    Some(numbers) => {
                        if let Some(number) = numbers.get(&value.span.start) {
                            *text = format!("?{number}");
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut places = Places {
        found: Vec::new(),
        numbers: None,
    };
    let _ = statement.visit(&mut places);
    places.found.sort();
    let count = places.found.len();
    places.numbers = Some(places.found.iter().enumerate().map(|(n, at)| (*at, n)).collect());
    let _ = statement.visit(&mut places);
    count
}

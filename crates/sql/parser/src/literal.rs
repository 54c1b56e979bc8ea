//! Values that stand in the statement as such.

use ilmenite_types::{Datum, Decimal};
use sqlparser::ast as sql;

/// The value of a literal; `None` for any other expression.
pub fn literal_value(expr: &sql::Expr) -> Option<Datum> {
    let value = match expr {
        sql::Expr::Value(value) => value,
        sql::Expr::UnaryOp {
            op: sql::UnaryOperator::Minus,
            expr,
        } => {
            return match literal_value(expr)? {
                Datum::Int(number) => Some(Datum::Int(-number)),
                Datum::Double(number) => Some(Datum::Double(-number)),
                Datum::Decimal(number) => Some(Datum::Decimal(number.negated())),
                _ => None,
            };
        }
        _ => return None,
    };
    match &value.value {
        sql::Value::Null => Some(Datum::Null),
        sql::Value::Boolean(on) => Some(Datum::Int(i64::from(*on))),
        sql::Value::SingleQuotedString(text) => Some(Datum::text(text.as_str())),
        sql::Value::Number(digits, _) => match (digits.parse::<i64>(), digits.parse::<u64>()) {
            (Ok(number), _) => Some(Datum::Int(number)),
            (_, Ok(number)) => Some(Datum::UInt(number)),
            _ if digits.contains(['e', 'E']) => digits.parse().ok().map(Datum::Double),
            _ => Decimal::parse(digits).ok().map(Datum::Decimal),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LexMode, Statement, parse_single};

    fn value(text: &str) -> Option<Datum> {
        let parsed = parse_single(format!("DO {text}").as_bytes(), LexMode::default()).unwrap();
        match parsed.statement {
            Statement::Do(list) => literal_value(&list[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn literals_are_values_and_nothing_else_is() {
        assert_eq!(value("5"), Some(Datum::Int(5)));
        assert_eq!(value("-5"), Some(Datum::Int(-5)));
        assert_eq!(value("18446744073709551615"), Some(Datum::UInt(u64::MAX)));
        assert_eq!(value("'x'"), Some(Datum::text("x")));
        assert_eq!(value("NULL"), Some(Datum::Null));
        assert_eq!(value("TRUE"), Some(Datum::Int(1)));
        assert_eq!(value("1e2"), Some(Datum::Double(100.0)));
        assert_eq!(value("1 + 1"), None);
        assert_eq!(value("@a"), None);
    }
}

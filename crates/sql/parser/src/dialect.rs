//! sqlparser's MySQL dialect with MySQL's operator precedence.

use std::any::TypeId;

use sqlparser::ast as sql;
use sqlparser::dialect::{Dialect, MySqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// MySQL's dialect: everything as `MySqlDialect` has it, except where that is not what MySQL does.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mysql {
    base: MySqlDialect,
}

macro_rules! as_base {
    ($($method:ident),* $(,)?) => {
        $(fn $method(&self) -> bool { self.base.$method() })*
    };
}

impl Dialect for Mysql {
    /// So that the parser's own questions for MySQL are answered with yes.
    fn dialect(&self) -> TypeId {
        TypeId::of::<MySqlDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.base.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.base.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.base.is_delimited_identifier_start(ch)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.base.identifier_quote_style(identifier)
    }

    as_base!(
        supports_string_literal_backslash_escape,
        ignores_wildcard_escapes,
        supports_numeric_prefix,
        supports_bitwise_shift_operators,
        require_interval_qualifier,
        supports_limit_comma,
        supports_create_table_select,
        supports_insert_set,
        supports_user_host_grantee,
        supports_table_hints,
        supports_match_against,
        supports_select_modifiers,
        supports_update_order_by,
        supports_data_type_signed_suffix,
        supports_cross_join_constraint,
        supports_double_ampersand_operator,
        supports_binary_kw_as_cast,
        supports_comment_optimizer_hint,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
    );

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    /// Comments and string concatenation are the lexer's.
    fn supports_multiline_comment_hints(&self) -> bool {
        false
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        false
    }

    fn is_table_factor_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        self.base.is_table_factor_alias(explicit, kw, parser)
    }

    /// EXTRACT and INTERVAL with MySQL's double units, DAY_SECOND and the like.
    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<sql::Expr, ParserError>> {
        let op = match &parser.peek_token_ref().token {
            Token::Minus => sql::UnaryOperator::Minus,
            Token::Plus => sql::UnaryOperator::Plus,
            Token::Tilde => sql::UnaryOperator::BitwiseNot,
            Token::ExclamationMark => sql::UnaryOperator::BangNot,
            Token::Word(word) if word.quote_style.is_none() => {
                let before_paren = parser.peek_nth_token_ref(1).token == Token::LParen;
                return match word.keyword {
                    Keyword::INTERVAL => interval(parser),
                    Keyword::CHAR if before_paren => Some(char_function(parser)),
                    _ => None,
                };
            }
            _ => return None,
        };
        parser.advance_token();
        // Signs bind tighter than any operator of two sides.
        Some(parser.parse_subexpr(46).map(|expr| sql::Expr::UnaryOp {
            op,
            expr: Box::new(expr),
        }))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &sqlparser::ast::Expr,
        precedence: u8,
    ) -> Option<Result<sqlparser::ast::Expr, ParserError>> {
        use sqlparser::ast::{BinaryOperator, Expr};
        let op = match &parser.peek_token_ref().token {
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::DIV => BinaryOperator::MyIntegerDivide,
                Keyword::MOD => BinaryOperator::Modulo,
                _ => return None,
            },
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(precedence).map(|right| Expr::BinaryOp {
            left: Box::new(expr.clone()),
            op,
            right: Box::new(right),
        }))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Caret => Some(Ok(45)),
            Token::ShiftLeft | Token::ShiftRight => Some(Ok(26)),
            Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::MOD => {
                Some(Ok(self.prec_value(Precedence::MulDivModOp)))
            }
            _ => None,
        }
    }

    /// From tight to loose: ^, * / DIV % MOD, + -, << >>, &, |, comparisons, BETWEEN, NOT, AND, XOR, OR.
    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Ampersand => 23,
            Precedence::Pipe => 22,
            Precedence::Like | Precedence::Is | Precedence::Eq => 20,
            Precedence::Between => 20,
            Precedence::Xor => 7,
            other => self.base.prec_value(other),
        }
    }
}

/// `INTERVAL value UNIT`; `None` for the function INTERVAL(a, b, …).
fn interval(parser: &mut Parser) -> Option<Result<sql::Expr, ParserError>> {
    parser
        .maybe_parse(|parser| {
            parser.expect_keyword_is(Keyword::INTERVAL)?;
            let value = Box::new(parser.parse_expr()?);
            let unit = match &parser.peek_token_ref().token {
                Token::Word(word) if word.quote_style.is_none() && word.value.contains('_') => {
                    let unit = sql::DateTimeField::Custom(sql::Ident::new(word.value.to_uppercase()));
                    parser.advance_token();
                    unit
                }
                _ => parser.parse_date_time_field()?,
            };
            Ok(sql::Expr::Interval(sql::Interval {
                value,
                leading_field: Some(unit),
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            }))
        })
        .transpose()
}

/// `CHAR(n, … [USING charset])`: with USING, the bytes are converted.
fn char_function(parser: &mut Parser) -> Result<sql::Expr, ParserError> {
    let name = sql::ObjectName::from(vec![sql::Ident::new("CHAR")]);
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let args = parser.parse_comma_separated(Parser::parse_expr)?;
    let charset = if parser.parse_keyword(Keyword::USING) {
        Some(sql::ObjectName::from(vec![parser.parse_identifier()?]))
    } else {
        None
    };
    parser.expect_token(&Token::RParen)?;
    let args = args
        .into_iter()
        .map(|arg| sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(arg)))
        .collect();
    let function = sql::Expr::Function(sql::Function {
        name,
        uses_odbc_syntax: false,
        parameters: sql::FunctionArguments::None,
        args: sql::FunctionArguments::List(sql::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    });
    Ok(match charset {
        Some(charset) => sql::Expr::Convert {
            is_try: false,
            expr: Box::new(function),
            data_type: None,
            charset: Some(charset),
            target_before_value: false,
            styles: Vec::new(),
        },
        None => function,
    })
}

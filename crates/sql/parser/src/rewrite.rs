//! Small changes to the tokens where MySQL's grammar and sqlparser's differ, and to its tree afterwards.

use sqlparser::ast as sql;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|t| &t.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn word_is(token: Option<&TokenWithSpan>, expected: &str) -> bool {
    matches!(token.map(|t| &t.token), Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

fn like(token: &TokenWithSpan, word: &str) -> TokenWithSpan {
    TokenWithSpan {
        token: Token::make_word(word, None),
        span: token.span,
    }
}

/// Where the grammars differ by a word: `LOCK IN SHARE MODE` becomes `FOR SHARE`, `DISTINCTROW` becomes `DISTINCT`,
/// `FROM DUAL` goes, `TABLE t` becomes `SELECT * FROM t`, `UPDATE a, b` becomes `UPDATE a CROSS JOIN b`, and the
/// character set of `CAST(… AS CHAR CHARACTER SET …)` goes where it changes nothing.
pub(crate) fn before_parsing(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const WORDS: &[&str] = &["LOCK", "DISTINCTROW", "DUAL", "CAST", "TABLE", "UPDATE"];
    let needs = tokens
        .iter()
        .any(|t| WORDS.iter().any(|word| word_is(Some(t), word)));
    if !needs {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 2);
    let mut at = 0;
    let mut depth = 0usize;
    // Between UPDATE and SET, outside of parentheses. Elsewhere (GRANT, ON UPDATE) the word is another.
    let updates = ["UPDATE", "EXPLAIN", "DESCRIBE", "DESC", "WITH"];
    let updates = updates.iter().any(|word| word_is(tokens.first(), word));
    let mut in_update_list = false;
    while at < tokens.len() {
        let here = &tokens[at];
        let next = |ahead: usize| tokens.get(at + ahead);
        match here.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if word_is(Some(here), "LOCK")
            && word_is(next(1), "IN")
            && word_is(next(2), "SHARE")
            && word_is(next(3), "MODE")
        {
            out.extend([like(here, "FOR"), like(here, "SHARE")]);
            at += 4;
            continue;
        }
        if at == 0 && word_is(Some(here), "TABLE") {
            let star = TokenWithSpan {
                token: Token::Mul,
                span: here.span,
            };
            out.extend([like(here, "SELECT"), star, like(here, "FROM")]);
            at += 1;
            continue;
        }
        if keyword(Some(here)) == Keyword::FROM && word_is(next(1), "DUAL") {
            at += 2;
            continue;
        }
        if keyword(Some(here)) == Keyword::AS && (word_is(next(1), "CHAR") || word_is(next(1), "CHARACTER")) {
            let sized = matches!(next(2).map(|t| &t.token), Some(Token::LParen));
            let after = if sized { 5 } else { 2 };
            let named = if word_is(next(after), "CHARSET") {
                Some(after + 1)
            } else if word_is(next(after), "CHARACTER") && word_is(next(after + 1), "SET") {
                Some(after + 2)
            } else {
                None
            };
            let unicode = named.is_some_and(|name| {
                ["utf8mb4", "utf8mb3", "utf8", "ascii"]
                    .iter()
                    .any(|charset| word_is(next(name), charset))
            });
            if let (Some(name), true) = (named, unicode) {
                out.extend_from_slice(&tokens[at..at + after]);
                at += name + 1;
                continue;
            }
        }
        if updates && depth == 0 && word_is(Some(here), "UPDATE") {
            let locking = at > 0 && word_is(tokens.get(at - 1), "FOR");
            in_update_list = !locking && !word_is(tokens.get(at.wrapping_sub(1)), "KEY");
        } else if depth == 0 && word_is(Some(here), "SET") {
            in_update_list = false;
        }
        if word_is(Some(here), "DISTINCTROW") {
            out.push(like(here, "DISTINCT"));
        } else if in_update_list && depth == 0 && here.token == Token::Comma {
            out.extend([like(here, "CROSS"), like(here, "JOIN")]);
        } else {
            out.push(here.clone());
        }
        at += 1;
    }
    out
}

/// Takes `INTO @a, @b` of a top-level SELECT out of the tokens: the variables, without the sign, lower case.
pub(crate) fn take_into(tokens: &mut Vec<TokenWithSpan>) -> Vec<String> {
    if keyword(tokens.first()) != Keyword::SELECT {
        return Vec::new();
    }
    let variable = |token: Option<&TokenWithSpan>| match token.map(|t| &t.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word
            .value
            .strip_prefix('@')
            .filter(|name| !name.starts_with('@'))
            .map(str::to_lowercase),
        _ => None,
    };
    let mut depth = 0usize;
    for at in 0..tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth != 0 || keyword(tokens.get(at)) != Keyword::INTO {
            continue;
        }
        let mut names = Vec::new();
        let mut end = at + 1;
        while let Some(name) = variable(tokens.get(end)) {
            names.push(name);
            end += 1;
            if tokens.get(end).map(|t| &t.token) != Some(&Token::Comma) {
                break;
            }
            end += 1;
        }
        if !names.is_empty() {
            tokens.drain(at..end);
        }
        return names;
    }
    Vec::new()
}

/// Names the select list's expressions as MySQL does: by their text as written.
///
/// `items` are the byte ranges of the top select's items.
pub(crate) fn name_columns(query: &mut sql::Query, text: &[u8], items: &[(usize, usize)]) {
    let mut body = query.body.as_mut();
    while let sql::SetExpr::SetOperation { left, .. } = body {
        body = left.as_mut();
    }
    let select = match body {
        sql::SetExpr::Select(select) => select,
        sql::SetExpr::Query(inner) => return name_columns(inner, text, items),
        _ => return,
    };
    if select.projection.len() != items.len() {
        return;
    }
    for (item, (start, end)) in select.projection.iter_mut().zip(items) {
        let sql::SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        if matches!(expr, sql::Expr::CompoundIdentifier(_)) {
            continue;
        }
        if let sql::Expr::Identifier(ident) = expr
            && !ident.value.starts_with('@')
        {
            continue;
        }
        let name = match expr {
            sql::Expr::Value(sql::ValueWithSpan {
                value: sql::Value::SingleQuotedString(text),
                ..
            }) => text.clone(),
            _ => String::from_utf8_lossy(&text[*start..*end]).into_owned(),
        };
        let expr = std::mem::replace(
            expr,
            sql::Expr::Wildcard(sql::helpers::attached_token::AttachedToken::empty()),
        );
        *item = sql::SelectItem::ExprWithAlias {
            expr,
            alias: sql::Ident::with_quote('`', name),
        };
    }
}

/// The byte ranges of the items of the SELECT list that names a query's columns, from SELECT to FROM or whatever ends it: the
/// first one, and after WITH the first that is not in parentheses. None where the statement is no query.
pub(crate) fn select_items(tokens: &[TokenWithSpan]) -> Vec<(usize, usize)> {
    const QUERIES: &[&str] = &["SELECT", "WITH", "EXPLAIN", "DESCRIBE", "DESC"];
    let first = tokens.first();
    let is_query = matches!(first.map(|t| &t.token), Some(Token::LParen))
        || QUERIES.iter().any(|word| word_is(first, word));
    if !is_query {
        return Vec::new();
    }
    let mut after_with = false;
    let mut open = 0usize;
    let select = tokens.iter().position(|token| {
        match token.token {
            Token::LParen => open += 1,
            Token::RParen => open = open.saturating_sub(1),
            _ => {}
        }
        match keyword(Some(token)) {
            Keyword::WITH => after_with |= open == 0,
            Keyword::SELECT => return !after_with || open == 0,
            _ => {}
        }
        false
    });
    let mut at = select.map_or(tokens.len(), |at| at + 1);
    const MODIFIERS: &[&str] = &[
        "ALL",
        "DISTINCT",
        "HIGH_PRIORITY",
        "STRAIGHT_JOIN",
        "SQL_SMALL_RESULT",
        "SQL_BIG_RESULT",
        "SQL_BUFFER_RESULT",
        "SQL_NO_CACHE",
        "SQL_CALC_FOUND_ROWS",
    ];
    while let Some(token) = tokens.get(at) {
        let skipped = matches!(token.token, Token::Whitespace(_))
            || MODIFIERS.iter().any(|word| word_is(Some(token), word));
        if !skipped {
            break;
        }
        at += 1;
    }
    let mut items = Vec::new();
    let mut depth = 0usize;
    let mut item: Option<(usize, usize)> = None;
    for token in &tokens[at.min(tokens.len())..] {
        let start = (token.span.start.column as usize).saturating_sub(1);
        let end = (token.span.end.column as usize).saturating_sub(1);
        if depth == 0 {
            let ends = match &token.token {
                Token::RParen | Token::SemiColon => true,
                Token::Word(word) if word.quote_style.is_none() => matches!(
                    word.keyword,
                    Keyword::FROM
                        | Keyword::WHERE
                        | Keyword::UNION
                        | Keyword::EXCEPT
                        | Keyword::INTERSECT
                        | Keyword::ORDER
                        | Keyword::GROUP
                        | Keyword::HAVING
                        | Keyword::LIMIT
                        | Keyword::INTO
                        | Keyword::FOR
                        | Keyword::WINDOW
                ),
                _ => false,
            };
            if ends {
                break;
            }
            if token.token == Token::Comma {
                items.extend(item.take());
                continue;
            }
        }
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        item = Some((item.map_or(start, |(from, _)| from), end));
    }
    items.extend(item);
    items
}

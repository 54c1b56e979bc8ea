use super::*;
use crate::value::zone_named;

#[test]
fn strings() {
    check(
        r"
        CONCAT('a','b','c') => abc
        CONCAT('a',1,2.5) => a12.5
        CONCAT('a',NULL) => NULL
        CONCAT_WS(',','a',NULL,'b') => a,b
        CONCAT_WS(NULL,'a') => NULL
        LENGTH('äb') => 3
        CHAR_LENGTH('äb') => 2
        CHARACTER_LENGTH('') => 0
        BIT_LENGTH('ab') => 16
        UPPER('abc') => ABC
        LOWER('ÄBC') => äbc
        UCASE('a') => A
        LCASE('A') => a
        SUBSTRING('abcdef',2) => bcdef
        SUBSTRING('abcdef',2,3) => bcd
        SUBSTRING('abcdef' FROM 2 FOR 3) => bcd
        SUBSTRING('abcdef',-3) => def
        SUBSTRING('abcdef',-3,2) => de
        SUBSTRING('abcdef',0) => ''
        SUBSTRING('abcdef',7) => ''
        SUBSTR('äöü',2,1) => ö
        MID('abcdef',2,3) => bcd
        LEFT('abc',2) => ab
        LEFT('abc',0) => ''
        LEFT('abc',10) => abc
        RIGHT('abc',2) => bc
        TRIM('  a ') => a
        TRIM(LEADING 'x' FROM 'xxaxx') => axx
        TRIM(TRAILING 'x' FROM 'xxaxx') => xxa
        TRIM(BOTH 'x' FROM 'xxaxx') => a
        LTRIM('  a') => a
        RTRIM('a  ') => a
        LPAD('a',3,'xy') => xya
        LPAD('abc',2,'x') => ab
        RPAD('a',4,'xy') => axyx
        LPAD('a',-1,'x') => NULL
        REPLACE('abcabc','b','X') => aXcaXc
        REPLACE('abc','','X') => abc
        REPEAT('ab',3) => ababab
        REPEAT('ab',0) => ''
        REVERSE('abc') => cba
        REVERSE('äb') => bä
        INSTR('foobar','bar') => 4
        INSTR('xyz','a') => 0
        LOCATE('bar','foobarbar') => 4
        LOCATE('bar','foobarbar',5) => 7
        LOCATE('','abc') => 1
        POSITION('b' IN 'abc') => 2
        INSERT('Quadratic',3,4,'What') => QuWhattic
        INSERT('Quadratic',-1,4,'What') => Quadratic
        SUBSTRING_INDEX('www.mysql.com','.',2) => www.mysql
        SUBSTRING_INDEX('www.mysql.com','.',-2) => mysql.com
        SUBSTRING_INDEX('www.mysql.com','.',0) => ''
        SUBSTRING_INDEX('abc','x',1) => abc
        ASCII('a') => 97
        ASCII('') => 0
        ORD('a') => 97
        ORD('ä') => 50084
        CHAR(77,121,83,81,'76') => MySQL
        FIND_IN_SET('b','a,b,c') => 2
        FIND_IN_SET('x','a,b,c') => 0
        FIND_IN_SET('a','') => 0
        MAKE_SET(5,'a','b','c') => a,c
        CONCAT(SPACE(3),'x') =>    x
        STRCMP('a','b') => -1
        STRCMP('a','a') => 0
        QUOTE('Don''t') => 'Don\'t'
        QUOTE(NULL) => NULL
        HEX('abc') => 616263
        HEX(255) => FF
        HEX(-1) => FFFFFFFFFFFFFFFF
        UNHEX('4D7953514C') => MySQL
        UNHEX('GG') => NULL
        BIN(12) => 1100
        OCT(12) => 14
        CONV('a',16,2) => 1010
        CONV(-17,10,-18) => -H
        CONV('6E',18,8) => 172
        CONV(10,10,37) => NULL
        TO_BASE64('abc') => YWJj
        FROM_BASE64('YWJj') => abc
        MD5('testing') => ae2b1fca515949e5d54fb22b8ed95575
        MD5('') => d41d8cd98f00b204e9800998ecf8427e
        SHA1('abc') => a9993e364706816aba3e25717850c26c9cd0d89d
        SHA2('abc',256) => ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
        SHA2('abc',1) => NULL
        CRC32('MySQL') => 3259397556
        INET_ATON('10.0.5.9') => 167773449
        INET_ATON('127.1') => 2130706433
        INET_NTOA(167773449) => 10.0.5.9
        FORMAT(12332.123456,4) => 12,332.1235
        FORMAT(12332.1,4) => 12,332.1000
        FORMAT(12332.2,0) => 12,332
        FORMAT(-1234567.891,2) => -1,234,567.89
        ",
    );
}

#[test]
fn numbers() {
    check(
        "
        ABS(-5) => 5
        ABS(-5.5) => 5.5
        ABS('-3') => 3
        CEIL(1.2) => 2
        CEIL(-1.2) => -1
        CEILING(5) => 5
        FLOOR(1.8) => 1
        FLOOR(-1.2) => -2
        FLOOR(1.5e0) => 1
        ROUND(1.5) => 2
        ROUND(2.5) => 3
        ROUND(-1.5) => -2
        ROUND(1.298,1) => 1.3
        ROUND(1.298,0) => 1
        ROUND(23.298,-1) => 20
        ROUND(2.5e0) => 2
        ROUND(150,-2) => 200
        ROUND(1/3,6) => 0.333333
        ROUND(1.5,4) => 1.5000
        TRUNCATE(1.999,1) => 1.9
        TRUNCATE(-1.999,1) => -1.9
        TRUNCATE(122,-2) => 100
        POW(2,10) => 1024
        POWER(2,-1) => 0.5
        SQRT(16) => 4
        SQRT(-1) => NULL
        EXP(0) => 1
        LN(1) => 0
        LOG(2,8) => 3
        LOG2(8) => 3
        LOG10(1000) => 3
        LOG(0) => NULL
        SIGN(-3) => -1
        SIGN(0) => 0
        PI() => 3.141593
        SIN(0) => 0
        COS(0) => 1
        ATAN2(0,1) => 0
        DEGREES(PI()) => 180
        BIT_COUNT(29) => 4
        BIT_COUNT(-1) => 64
        RAND(1) => 0.40540353712197724
        RAND(3) => 0.9057697559760601
        ",
    );
}

#[test]
fn dates() {
    check(
        r"
        NOW() => 2024-03-15 10:20:30
        NOW(3) => 2024-03-15 10:20:30.123
        CURRENT_TIMESTAMP => 2024-03-15 10:20:30
        CURRENT_TIMESTAMP(6) => 2024-03-15 10:20:30.123456
        CURDATE() => 2024-03-15
        CURRENT_DATE => 2024-03-15
        CURTIME() => 10:20:30
        UTC_TIMESTAMP() => 2024-03-15 10:20:30
        UTC_DATE() => 2024-03-15
        UNIX_TIMESTAMP() => 1710498030
        UNIX_TIMESTAMP('1970-01-02 00:00:00') => 86400
        UNIX_TIMESTAMP('2024-03-15 10:20:30.5') => 1710498030.5
        FROM_UNIXTIME(0) => 1970-01-01 00:00:00
        FROM_UNIXTIME(1710498030) => 2024-03-15 10:20:30
        FROM_UNIXTIME(1710498030.5) => 2024-03-15 10:20:30.5
        FROM_UNIXTIME(1710498030,'%Y-%m') => 2024-03
        FROM_UNIXTIME(-1) => NULL
        DATE('2024-01-02 03:04:05') => 2024-01-02
        TIME('2024-01-02 03:04:05') => 03:04:05
        YEAR('2024-01-02') => 2024
        MONTH('2024-01-02') => 1
        DAY('2024-01-02') => 2
        DAYOFMONTH('2024-01-31') => 31
        HOUR('10:11:12') => 10
        HOUR('272:59:59') => 272
        MINUTE('2024-01-02 10:11:12') => 11
        SECOND('10:11:12') => 12
        MICROSECOND('10:11:12.123456') => 123456
        DAYOFWEEK('2007-02-03') => 7
        WEEKDAY('2008-02-03') => 6
        DAYOFYEAR('2007-02-03') => 34
        WEEK('2008-02-20') => 7
        WEEK('2008-02-20',1) => 8
        WEEK('2008-12-31',1) => 53
        WEEKOFYEAR('2008-02-20') => 8
        YEARWEEK('1987-01-01') => 198652
        QUARTER('2008-04-01') => 2
        LAST_DAY('2024-02-05') => 2024-02-29
        DAYNAME('2007-02-03') => Saturday
        MONTHNAME('2008-02-03') => February
        DATE_FORMAT('2009-10-04 22:23:00','%W %M %Y') => Sunday October 2009
        DATE_FORMAT('2007-10-04 22:23:00','%H:%i:%s') => 22:23:00
        DATE_FORMAT('1900-10-04 22:23:00','%D %y %a %d %m %b %j') => 4th 00 Thu 04 10 Oct 277
        DATE_FORMAT('1997-10-04 22:23:00','%H %k %I %r %T %S %w') => 22 22 10 10:23:00 PM 22:23:00 00 6
        DATE_FORMAT('1999-01-01','%X %V') => 1998 52
        TIME_FORMAT('100:00:00','%H %k %h %I %l') => 100 100 04 04 4
        STR_TO_DATE('01,5,2013','%d,%m,%Y') => 2013-05-01
        STR_TO_DATE('May 1, 2013','%M %d,%Y') => 2013-05-01
        STR_TO_DATE('a09:30:17','a%h:%i:%s') => 09:30:17
        STR_TO_DATE('2024-01-02 03:04:05','%Y-%m-%d %H:%i:%s') => 2024-01-02 03:04:05
        STR_TO_DATE('abc','%Y') => NULL
        DATE_ADD('2018-05-01',INTERVAL 1 DAY) => 2018-05-02
        DATE_SUB('2018-05-01',INTERVAL 1 YEAR) => 2017-05-01
        DATE_ADD('2020-12-31 23:59:59',INTERVAL 1 SECOND) => 2021-01-01 00:00:00
        DATE_ADD('2018-12-31 23:59:59',INTERVAL 1 DAY) => 2019-01-01 23:59:59
        DATE_ADD('2100-12-31 23:59:59',INTERVAL '1:1' MINUTE_SECOND) => 2101-01-01 00:01:00
        DATE_SUB('2025-01-01 00:00:00',INTERVAL '1 1:1:1' DAY_SECOND) => 2024-12-30 22:58:59
        DATE_ADD('1900-01-01 00:00:00',INTERVAL '-1 10' DAY_HOUR) => 1899-12-30 14:00:00
        DATE_ADD('1992-12-31 23:59:59.000002',INTERVAL '1.999999' SECOND_MICROSECOND) => 1993-01-01 00:00:01.000001
        DATE_ADD('2024-01-31',INTERVAL 1 MONTH) => 2024-02-29
        DATE '2024-01-31' + INTERVAL 1 MONTH => 2024-02-29
        DATE '2024-01-01' + INTERVAL 1 HOUR => 2024-01-01 01:00:00
        DATE '2024-01-01' - INTERVAL 1 DAY => 2023-12-31
        INTERVAL 1 DAY + DATE '2024-01-01' => 2024-01-02
        TIMESTAMP '2024-01-01 10:00:00' + INTERVAL 90 MINUTE => 2024-01-01 11:30:00
        ADDDATE('2008-01-02',31) => 2008-02-02
        SUBDATE('2008-01-02',31) => 2007-12-02
        TIMESTAMPADD(MINUTE,1,'2003-01-02') => 2003-01-02 00:01:00
        TIMESTAMPADD(WEEK,1,'2003-01-02') => 2003-01-09
        TIMESTAMPDIFF(MONTH,'2003-02-01','2003-05-01') => 3
        TIMESTAMPDIFF(YEAR,'2002-05-01','2001-01-01') => -1
        TIMESTAMPDIFF(MINUTE,'2003-02-01','2003-05-01 12:05:55') => 128885
        DATEDIFF('2007-12-31 23:59:59','2007-12-30') => 1
        TIMEDIFF('2000-01-01 00:00:00','2000-01-01 00:00:00.000001') => -00:00:00.000001
        TIMEDIFF('10:00:00','09:30:00') => 00:30:00
        ADDTIME('01:00:00.999999','02:00:00.999998') => 03:00:01.999997
        SUBTIME('10:00:00','01:00:00') => 09:00:00
        MAKEDATE(2011,31) => 2011-01-31
        MAKEDATE(2011,32) => 2011-02-01
        MAKEDATE(2011,0) => NULL
        MAKETIME(12,15,30) => 12:15:30
        MAKETIME(12,60,30) => NULL
        SEC_TO_TIME(2378) => 00:39:38
        TIME_TO_SEC('22:23:00') => 80580
        TO_DAYS('2007-10-07') => 733321
        TO_DAYS(950501) => 728779
        TO_SECONDS('2009-11-29') => 63426672000
        FROM_DAYS(730669) => 2000-07-03
        EXTRACT(YEAR FROM '2019-07-02') => 2019
        EXTRACT(YEAR_MONTH FROM '2019-07-02 01:02:03') => 201907
        EXTRACT(DAY_MINUTE FROM '2019-07-02 01:02:03') => 20102
        EXTRACT(MICROSECOND FROM '2003-01-02 10:30:00.000123') => 123
        EXTRACT(HOUR FROM '10:11:12') => 10
        CONVERT_TZ('2004-01-01 12:00:00','+00:00','+10:00') => 2004-01-01 22:00:00
        CONVERT_TZ('2004-01-01 12:00:00','GMT','MET') => 2004-01-01 13:00:00
        CONVERT_TZ('2004-01-01 12:00:00','nowhere','MET') => NULL
        TIMESTAMP('2003-12-31') => 2003-12-31 00:00:00
        TIMESTAMP('2003-12-31 12:00:00','12:00:00') => 2004-01-01 00:00:00
        PERIOD_ADD(200801,2) => 200803
        PERIOD_DIFF(200802,200703) => 11
        YEAR(NULL) => NULL
        MONTH('2024-00-00') => 0
        DAYNAME('2024-00-00') => NULL
        ",
    );
}

#[test]
fn json() {
    check(
        r#"
        JSON_EXTRACT('{"a": [1, 2, {"b": 3}]}', '$.a[2].b') => 3
        JSON_EXTRACT('{"a": 1}', '$.x') => NULL
        JSON_EXTRACT('[1,2,3]', '$[*]') => [1, 2, 3]
        JSON_EXTRACT('[10,20]', '$[0]', '$[1]') => [10, 20]
        JSON_EXTRACT('{"a": "x"}', '$.a') => "x"
        JSON_UNQUOTE(JSON_EXTRACT('{"a": "x"}', '$.a')) => x
        JSON_UNQUOTE('"a\\tb"') => a	b
        JSON_QUOTE('null') => "null"
        JSON_OBJECT('a', 1, 'b', 'x') => {"a": 1, "b": "x"}
        JSON_OBJECT() => {}
        JSON_ARRAY(1, 'a', NULL, 1.5) => [1, "a", null, 1.5]
        JSON_ARRAY() => []
        JSON_VALID('{"a": 1}') => 1
        JSON_VALID('hello') => 0
        JSON_VALID(NULL) => NULL
        JSON_TYPE('[1]') => ARRAY
        JSON_TYPE('{"a":1}') => OBJECT
        JSON_TYPE('"x"') => STRING
        JSON_TYPE('1') => INTEGER
        JSON_TYPE('null') => NULL
        JSON_LENGTH('[1,2,{"a":3}]') => 3
        JSON_LENGTH('{"a":{"b":30}}', '$.a') => 1
        JSON_DEPTH('[10, {"a": 20}]') => 3
        JSON_CONTAINS('{"a": 1, "b": 2}', '{"a": 1}') => 1
        JSON_CONTAINS('[1,2,3]', '2') => 1
        JSON_CONTAINS('{"a": 1}', '1', '$.a') => 1
        JSON_CONTAINS('{"a": 1}', '2', '$.a') => 0
        JSON_CONTAINS_PATH('{"a": 1}', 'one', '$.a', '$.x') => 1
        JSON_CONTAINS_PATH('{"a": 1}', 'all', '$.a', '$.x') => 0
        JSON_KEYS('{"a": 1, "b": {"c": 30}}') => ["a", "b"]
        JSON_KEYS('{"a": 1, "b": {"c": 30}}', '$.b') => ["c"]
        JSON_SET('{"a": 1}', '$.a', 10, '$.b', 'x') => {"a": 10, "b": "x"}
        JSON_INSERT('{"a": 1}', '$.a', 10, '$.b', 2) => {"a": 1, "b": 2}
        JSON_REPLACE('{"a": 1}', '$.a', 10, '$.b', 2) => {"a": 10}
        JSON_REMOVE('["a", ["b", "c"], "d"]', '$[1]') => ["a", "d"]
        JSON_REMOVE('{"a": 1, "b": 2}', '$.a') => {"b": 2}
        JSON_ARRAY_APPEND('["a", ["b", "c"], "d"]', '$[1]', 1) => ["a", ["b", "c", 1], "d"]
        JSON_MERGE_PATCH('{"a": 1, "b": 2}', '{"b": null, "c": 3}') => {"a": 1, "c": 3}
        JSON_MERGE_PRESERVE('[1, 2]', '[true, false]') => [1, 2, true, false]
        CAST('{"b": 1, "a": 2}' AS JSON) => {"a": 2, "b": 1}
        CAST('1' AS JSON) = 1 => 1
        CAST('"a"' AS JSON) = 'a' => 1
        "#,
    );
}

#[test]
fn information() {
    check(
        "
        VERSION() => 8.0.36-Ilmenite-0.1
        DATABASE() => test
        SCHEMA() => test
        USER() => root@localhost
        CURRENT_USER() => root@%
        SESSION_USER() => root@localhost
        CONNECTION_ID() => 7
        LAST_INSERT_ID() => 0
        LAST_INSERT_ID(42) => 42
        ROW_COUNT() => -1
        FOUND_ROWS() => 0
        CHARSET('a') => utf8mb4
        COLLATION('a') => utf8mb4_bin
        COLLATION('a' COLLATE utf8mb4_general_ci) => utf8mb4_general_ci
        CHARSET(BINARY 'a') => binary
        COERCIBILITY('a') => 4
        COERCIBILITY('a' COLLATE utf8mb4_bin) => 0
        COERCIBILITY(USER()) => 3
        COERCIBILITY(1) => 5
        COERCIBILITY(NULL) => 6
        BENCHMARK(3, 1+1) => 0
        SLEEP(0) => 0
        ANY_VALUE(3) => 3
        ",
    );
}

#[test]
fn a_sleep_ends_when_the_statement_does() {
    let ctx = context();
    ctx.cancel.cancel();
    let started = std::time::Instant::now();
    assert_eq!(run("SLEEP(30)", &ctx), "1");
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    assert!(run("BENCHMARK(1000000000, 1+1)", &ctx).starts_with("ERROR 1317"));
}

#[test]
fn the_session_time_zone_decides() {
    let zone = zone_named("+02:00").expect("a zone");
    let ctx = EvalContext::new(StatementFacts {
        time_zone: zone,
        ..facts()
    });
    assert_eq!(run("NOW()", &ctx), "2024-03-15 12:20:30");
    assert_eq!(run("FROM_UNIXTIME(0)", &ctx), "1970-01-01 02:00:00");
    assert_eq!(run("UNIX_TIMESTAMP('1970-01-01 02:00:00')", &ctx), "0");
    assert_eq!(run("UTC_TIMESTAMP()", &ctx), "2024-03-15 10:20:30");
    assert!(zone_named("+14:01").is_none());
    assert!(zone_named("Europe/Berlin").is_some());
}

#[test]
fn random_numbers_are_between_zero_and_one_and_differ() {
    let ctx = context();
    let (a, b) = (run("RAND()", &ctx), run("RAND()", &ctx));
    assert_ne!(a, b);
    let a: f64 = a.parse().expect("a number");
    assert!((0.0..1.0).contains(&a));
    // A seeded sequence goes on from row to row.
    let e = build("RAND(1)").expect("compiles");
    let first = e.eval(&[], &ctx).expect("evaluates");
    let second = e.eval(&[], &ctx).expect("evaluates");
    assert_eq!(first, Datum::Double(0.40540353712197724));
    assert_eq!(second, Datum::Double(0.8716141803857071));
}

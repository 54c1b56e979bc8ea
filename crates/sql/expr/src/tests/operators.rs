use super::check;

#[test]
fn literals() {
    check(
        "
        1 => 1
        -9223372036854775808 => -9223372036854775808
        18446744073709551615 => 18446744073709551615
        99999999999999999999 => 99999999999999999999
        1.50 => 1.50
        .5 => 0.5
        1e3 => 1000
        1e20 => 1e20
        1.5e-3 => 0.0015
        'a''b' => a'b
        HEX('a\\nb') => 610A62
        x'4142' => AB
        0x4142 => AB
        0x41+0 => 65
        b'1000001' => A
        b'101'+0 => 5
        N'abc' => abc
        _utf8mb4'abc' => abc
        _binary'abc' => abc
        TRUE => 1
        FALSE => 0
        NULL => NULL
        DATE '2024-02-29' => 2024-02-29
        TIME '10:11:12.5' => 10:11:12.5
        TIMESTAMP '2024-01-02 03:04:05' => 2024-01-02 03:04:05
        ",
    );
}

#[test]
fn arithmetic() {
    check(
        "
        1+2 => 3
        5-7 => -2
        7*6 => 42
        1/3 => 0.3333
        2/3 => 0.6667
        1/3*3 => 1.0000
        (1/3)*3 => 1.0000
        10/2 => 5.0000
        1.0/3 => 0.33333
        1.00/3.0 => 0.333333
        1e0/3 => 0.3333333333333333
        7 DIV 2 => 3
        -7 DIV 2 => -3
        7.5 DIV 2 => 3
        7 % 3 => 1
        -7 % 3 => -1
        7 MOD 3 => 1
        7.5 % 2 => 1.5
        MOD(10,3) => 1
        1/0 => NULL
        1 DIV 0 => NULL
        1 % 0 => NULL
        1.5+2 => 3.5
        1.5*1.5 => 2.25
        0.1+0.2 => 0.3
        1e0*0.1 => 0.1
        '3'+4 => 7
        '3abc'+4 => 7
        'abc'+1 => 1
        '1.5'+1 => 2.5
        NULL+1 => NULL
        -5 => -5
        -'5' => -5
        - -5 => 5
        -(1.5) => -1.5
        2*3+4 => 10
        2+3*4 => 14
        (2+3)*4 => 20
        5 & 3 => 1
        5 | 3 => 7
        5 ^ 3 => 6
        ~0 => 18446744073709551615
        1 << 3 => 8
        16 >> 2 => 4
        1 << 64 => 0
        -1 & 255 => 255
        -1 >> 1 => 9223372036854775807
        9223372036854775807 + 0 => 9223372036854775807
        18446744073709551614 + 1 => 18446744073709551615
        cast(5 as unsigned) - 3 => 2
        9223372036854775807 * 1.0 => 9223372036854775807.0
        DATE '2024-01-02' + 0 => 20240102
        TIMESTAMP '2024-01-02 03:04:05' + 1 => 20240102030406
        TIME '01:02:03' + 0 => 10203
        '2024' + 0 => 2024
        100000000000000000000 + 1 => 100000000000000000001
        1.1 * 2.22 => 2.442
        -0.0 => 0.0
        3 - 1.5 => 1.5
        ",
    );
}

#[test]
fn comparison() {
    check(
        "
        1 = 1 => 1
        1 = 2 => 0
        1 <> 2 => 1
        1 != 1 => 0
        2 > 1 => 1
        2 < 1 => 0
        2 >= 2 => 1
        1 <= 0 => 0
        NULL = NULL => NULL
        NULL <=> NULL => 1
        1 <=> NULL => 0
        1 <=> 1 => 1
        1 = NULL => NULL
        NULL <> 1 => NULL
        'a' = 'a' => 1
        'a' = 'A' => 0
        'a' = 'a  ' => 1
        'a ' = 'a' => 1
        'a' < 'b' => 1
        '10' < '9' => 1
        '10' < 9 => 0
        10 = '10' => 1
        10 = '10abc' => 1
        0 = 'abc' => 1
        '1e1' = 10 => 1
        1.0 = 1 => 1
        1.10 = '1.1' => 1
        0.1 = 1e-1 => 1
        18446744073709551615 > 1 => 1
        -1 < 18446744073709551615 => 1
        cast(-1 as unsigned) = 18446744073709551615 => 1
        'a' COLLATE utf8mb4_general_ci = 'A' => 1
        'a' = 'A' COLLATE utf8mb4_general_ci => 1
        BINARY 'a' = 'a ' => 0
        BINARY 'a' = 'A' => 0
        x'41' = 'A' => 1
        0x41 = 65 => 1
        DATE '2024-01-02' = '2024-01-02' => 1
        DATE '2024-01-02' < '2024-1-3' => 1
        DATE '2024-01-02' = 20240102 => 1
        TIMESTAMP '2024-01-02 00:00:00' = DATE '2024-01-02' => 1
        TIMESTAMP '2024-01-02 03:04:05' > '2024-01-02' => 1
        TIME '10:00:00' = '10:00' => 1
        TIME '10:00:00' = 100000 => 1
        (1,2) = (1,2) => 1
        (1,2) = (1,3) => 0
        (1,NULL) = (1,2) => NULL
        (1,NULL) = (2,2) => 0
        (1,2) < (1,3) => 1
        (2,1) < (1,3) => 0
        (1,2) <> (1,2) => 0
        (1,2) <=> (1,NULL) => 0
        ROW(1,2) IN ((1,2),(3,4)) => 1
        (1,5) IN ((1,2),(3,4)) => 0
        (1,NULL) IN ((1,2),(3,4)) => NULL
        (1,2) NOT IN ((3,4)) => 1
        ",
    );
}

#[test]
fn logic() {
    check(
        "
        1 AND 1 => 1
        1 AND 0 => 0
        NULL AND 0 => 0
        NULL AND 1 => NULL
        0 OR 1 => 1
        0 OR NULL => NULL
        1 OR NULL => 1
        0 OR 0 OR 0 OR 1 => 1
        1 XOR 0 => 1
        1 XOR 1 => 0
        1 XOR NULL => NULL
        NOT 1 => 0
        NOT 0 => 1
        NOT NULL => NULL
        !1 => 0
        NOT 1 = 2 => 1
        1 && 0 => 0
        1 || 0 => 1
        'a' AND 1 => 0
        '1a' AND 1 => 1
        0.5 AND 1 => 1
        0.0 OR 0 => 0
        1 IS NULL => 0
        NULL IS NULL => 1
        NULL IS NOT NULL => 0
        1 IS TRUE => 1
        0 IS TRUE => 0
        NULL IS TRUE => 0
        NULL IS NOT TRUE => 1
        0 IS FALSE => 1
        NULL IS UNKNOWN => 1
        1 IS NOT UNKNOWN => 1
        ISNULL(NULL) => 1
        2 BETWEEN 1 AND 3 => 1
        2 NOT BETWEEN 1 AND 3 => 0
        NULL BETWEEN 1 AND 3 => NULL
        2 BETWEEN NULL AND 1 => 0
        2 BETWEEN NULL AND 3 => NULL
        'b' BETWEEN 'a' AND 'c' => 1
        DATE '2024-01-02' BETWEEN '2024-01-01' AND '2024-01-03' => 1
        1 IN (1,2,3) => 1
        4 IN (1,2,3) => 0
        4 NOT IN (1,2,3) => 1
        4 IN (1,NULL) => NULL
        1 IN (1,NULL) => 1
        NULL IN (1,2) => NULL
        5 IN (1,2,3,4,5,6) => 1
        7 IN (1,2,3,4,5,6) => 0
        7 IN (1,2,3,4,5,NULL) => NULL
        'b' IN ('a','b','c','d') => 1
        'b ' IN ('a','b','c','d') => 1
        'B' IN ('a','b','c','d') => 0
        'x' IN ('a','b','c','d') => 0
        '2' IN (1,2,3) => 1
        1.0 IN (1,2,3,4,5) => 1
        ",
    );
}

#[test]
fn patterns() {
    check(
        r"
        'abc' LIKE 'abc' => 1
        'abc' LIKE 'a%' => 1
        'abc' LIKE '%c' => 1
        'abc' LIKE '%b%' => 1
        'abc' LIKE '_b_' => 1
        'abc' LIKE 'a_' => 0
        'abc' LIKE 'A%' => 0
        'abc' COLLATE utf8mb4_general_ci LIKE 'A%' => 1
        'a%c' LIKE 'a\%c' => 1
        'abc' LIKE 'a\%c' => 0
        'a%c' LIKE 'a|%c' ESCAPE '|' => 1
        'abcabc' LIKE '%abc' => 1
        'aXbXc' LIKE 'a%b%c' => 1
        'ab' LIKE 'a%b%c' => 0
        '' LIKE '' => 1
        '' LIKE '%' => 1
        'abc' LIKE '' => 0
        'abc ' LIKE 'abc' => 0
        'äöü' LIKE '_ö_' => 1
        NULL LIKE 'a' => NULL
        'a' LIKE NULL => NULL
        'abc' NOT LIKE 'x%' => 1
        123 LIKE '1%' => 1
        'abc' REGEXP 'b' => 1
        'abc' REGEXP '^b' => 0
        'abc' RLIKE '^a.c$' => 1
        'abc' NOT REGEXP 'x' => 1
        'ABC' COLLATE utf8mb4_general_ci REGEXP 'b' => 1
        'abc' REGEXP 'B' => 0
        NULL REGEXP 'a' => NULL
        REGEXP_LIKE('abc', 'B', 'i') => 1
        REGEXP_REPLACE('a1b2', '[0-9]', '#') => a#b#
        REGEXP_SUBSTR('abc123', '[0-9]+') => 123
        REGEXP_INSTR('abc123', '[0-9]') => 4
        ",
    );
}

#[test]
fn control_flow() {
    check(
        "
        CASE 1 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END => a
        CASE 3 WHEN 1 THEN 'a' ELSE 'z' END => z
        CASE 3 WHEN 1 THEN 'a' END => NULL
        CASE WHEN 1=2 THEN 'a' WHEN 1=1 THEN 'b' END => b
        CASE NULL WHEN NULL THEN 1 ELSE 2 END => 2
        CASE WHEN 1 THEN 1 ELSE 1.5 END => 1.0
        CASE WHEN 0 THEN 1 ELSE 'x' END => x
        IF(1,2,3) => 2
        IF(0,2,3) => 3
        IF(NULL,2,3) => 3
        IF(1>2,'a','b') => b
        IFNULL(NULL,5) => 5
        IFNULL(1,5) => 1
        IFNULL(1,1.5) => 1.0
        NULLIF(1,1) => NULL
        NULLIF(1,2) => 1
        NULLIF('a','b') => a
        NULLIF(NULL,1) => NULL
        COALESCE(NULL,NULL,3) => 3
        COALESCE(NULL,NULL) => NULL
        COALESCE(NULL,'a',1) => a
        GREATEST(1,3,2) => 3
        LEAST(1,3,2) => 1
        GREATEST(1,NULL) => NULL
        GREATEST('a','b') => b
        GREATEST(1,2.5) => 2.5
        LEAST(1.5,'1') => 1
        ELT(2,'a','b','c') => b
        ELT(4,'a','b','c') => NULL
        FIELD('b','a','b','c') => 2
        FIELD('x','a','b') => 0
        FIELD(2,1,2,3) => 2
        ",
    );
}

#[test]
fn casts() {
    check(
        "
        CAST('12' AS SIGNED) => 12
        CAST('12abc' AS SIGNED) => 12
        CAST('abc' AS SIGNED) => 0
        CAST(-1 AS UNSIGNED) => 18446744073709551615
        CAST(1.5 AS SIGNED) => 2
        CAST(1.4999 AS SIGNED) => 1
        CAST(-1.5 AS SIGNED) => -2
        CAST(2.5e0 AS SIGNED) => 2
        CAST('1.9' AS SIGNED) => 1
        CAST(18446744073709551615 AS SIGNED) => -1
        CAST(1 AS DECIMAL(5,2)) => 1.00
        CAST('1.237' AS DECIMAL(5,2)) => 1.24
        CAST(1.5 AS DECIMAL) => 2
        CAST(12345.678 AS DECIMAL(5,2)) => 999.99
        CAST('abc' AS CHAR(2)) => ab
        CAST(123 AS CHAR) => 123
        CAST(1.50 AS CHAR) => 1.50
        CAST('a' AS BINARY(3)) => a\0\0
        CAST('2024-02-30' AS DATE) => NULL
        CAST('2024-02-28' AS DATE) => 2024-02-28
        CAST('2024-02-28 10:11:12' AS DATE) => 2024-02-28
        CAST('2024-02-28 10:11:12.6' AS DATETIME) => 2024-02-28 10:11:13
        CAST('2024-02-28 10:11:12.6' AS DATETIME(1)) => 2024-02-28 10:11:12.6
        CAST(20240228 AS DATE) => 2024-02-28
        CAST('10:11:12' AS TIME) => 10:11:12
        CAST(101112 AS TIME) => 10:11:12
        CAST('2024-01-02 03:04:05' AS TIME) => 03:04:05
        CAST('3.5' AS DOUBLE) => 3.5
        CAST(3.5 AS FLOAT) => 3.5
        CAST('[1, 2]' AS JSON) => [1, 2]
        CAST(1 AS JSON) => 1
        CAST(NULL AS SIGNED) => NULL
        CAST(2024 AS YEAR) => 2024
        CAST(70 AS YEAR) => 1970
        CAST('2024' AS YEAR) => 2024
        CONVERT('12', SIGNED) => 12
        CONVERT('abc' USING utf8mb4) => abc
        BINARY 'abc' => abc
        CAST(1/3 AS DECIMAL(10,8)) => 0.33333333
        CAST(DATE '2024-01-02' AS SIGNED) => 20240102
        CAST(DATE '2024-01-02' AS DATETIME) => 2024-01-02 00:00:00
        CAST(DATE '2024-01-02' AS CHAR) => 2024-01-02
        "
        .replace("\\0", "\0")
        .as_str(),
    );
}

#[test]
fn variables_and_names() {
    check(
        "
        @a => 5
        @a + 1 => 6
        @nothing => NULL
        @@sql_mode => ANSI
        @@max_allowed_packet => 67108864
        @@session.sql_mode => ANSI
        CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES') => ANSI,STRICT_TRANS_TABLES
        ",
    );
}

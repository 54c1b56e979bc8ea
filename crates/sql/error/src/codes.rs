//! Every error number with its SQLSTATE, text, class, and the way out. A number that MySQL gives several texts has a row for
//! each.

use std::fmt::Display;

use ilmenite_base::ErrorClass;

use crate::Error;

/// One row of the table of errors.
#[derive(Debug, Clone, Copy)]
pub struct CodeInfo {
    pub code: u16,
    pub sqlstate: [u8; 5],
    pub class: ErrorClass,
    /// The text, with its arguments as `{name}`.
    pub message: &'static str,
    /// What whoever meets the error can do about it.
    pub way_out: &'static str,
}

macro_rules! codes {
    ($($name:ident($($arg:ident),*) = $code:literal $state:literal $class:ident $text:literal, $way_out:literal;)*) => {
        /// All errors, by number.
        pub const CODES: &[CodeInfo] = &[$(CodeInfo {
            code: $code,
            sqlstate: *$state,
            class: ErrorClass::$class,
            message: $text,
            way_out: $way_out,
        }),*];

        /// The numbers, by the names of their constructors.
        #[allow(non_upper_case_globals)]
        pub mod code {
            $(pub const $name: u16 = $code;)*
        }

        impl Error {
            $(
                #[doc = concat!(stringify!($code), ": `", $text, "`. ", $way_out)]
                pub fn $name($($arg: impl Display),*) -> Self {
                    Error {
                        code: $code,
                        sqlstate: *$state,
                        message: format!($text $(, $arg = $arg)*),
                        class: ErrorClass::$class,
                    }
                }
            )*
        }
    };
}

codes! {
    cannot_stat(file, errno) = 13 b"HY000" User "Can't get stat of '{file}' (OS errno {errno})",
        "Check the path, and that the server may read it.";
    database_exists(name) = 1007 b"HY000" User "Can't create database '{name}'; database exists",
        "Choose another name, or CREATE DATABASE IF NOT EXISTS.";
    drop_unknown_database(name) = 1008 b"HY000" User "Can't drop database '{name}'; database doesn't exist",
        "Check the name (SHOW DATABASES), or DROP DATABASE IF EXISTS.";
    disk_full(detail) = 1021 b"HY000" Resource "Disk full ({detail}); free some space, then try again",
        "Free disk space, or point the data or temporary directory elsewhere.";
    too_many_connections() = 1040 b"08004" Resource "Too many connections",
        "Close idle connections or raise max_connections.";
    db_access_denied(user, host, db) = 1044 b"42000" User "Access denied for user '{user}'@'{host}' to database '{db}'",
        "Have the user granted rights on the database.";
    account_gone(user, host) = 1045 b"28000" User "Access denied for user '{user}'@'{host}': the account was dropped or locked",
        "Connect as another user.";
    access_denied(user, host, using) = 1045 b"28000" User "Access denied for user '{user}'@'{host}' (using password: {using})",
        "Check user name and password.";
    no_database_selected() = 1046 b"3D000" User "No database selected",
        "USE a database, or write database.table.";
    unknown_command() = 1047 b"08S01" User "Unknown command",
        "The client sent a protocol command that is not served.";
    column_cannot_be_null(column) = 1048 b"23000" User "Column '{column}' cannot be null",
        "Give the column a value.";
    unknown_database(db) = 1049 b"42000" User "Unknown database '{db}'",
        "CREATE DATABASE, or check the spelling (SHOW DATABASES).";
    table_exists(table) = 1050 b"42S01" User "Table '{table}' already exists",
        "Choose another name, or CREATE TABLE IF NOT EXISTS.";
    unknown_table_drop(table) = 1051 b"42S02" User "Unknown table '{table}'",
        "Check the name (SHOW TABLES), or DROP TABLE IF EXISTS.";
    ambiguous_column(column, clause) = 1052 b"23000" User "Column '{column}' in {clause} is ambiguous",
        "Write table.column.";
    server_shutdown() = 1053 b"08S01" Transient "Server shutdown in progress",
        "Connect again in a moment, or to another node.";
    unknown_column(column, clause) = 1054 b"42S22" User "Unknown column '{column}' in '{clause}'",
        "Check the spelling (SHOW COLUMNS).";
    not_in_group_by(number, clause, column) = 1055 b"42000" User "Expression #{number} of {clause} is not in GROUP BY clause and contains nonaggregated column '{column}' which is not functionally dependent on columns in GROUP BY clause; this is incompatible with sql_mode=only_full_group_by",
        "Group by the column, aggregate it, or take ANY_VALUE(column).";
    wrong_group_field(expr) = 1056 b"42000" User "Can't group on '{expr}'",
        "Group by something that is not an aggregate.";
    identifier_too_long(name) = 1059 b"42000" User "Identifier name '{name}' is too long",
        "Names have at most 64 characters.";
    duplicate_column(column) = 1060 b"42S21" User "Duplicate column name '{column}'",
        "Name the columns differently.";
    duplicate_key_name(name) = 1061 b"42000" User "Duplicate key name '{name}'",
        "Choose another index name, or ADD INDEX IF NOT EXISTS.";
    duplicate_entry(entry, key) = 1062 b"23000" User "Duplicate entry '{entry}' for key '{key}'",
        "The unique key has that value already: change the row, or drop the key.";
    wrong_column_spec(column) = 1063 b"42000" User "Incorrect column specifier for column '{column}'",
        "The attribute does not fit the column's type.";
    syntax(near) = 1064 b"42000" User "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use {near}",
        "Correct the statement where the text points.";
    empty_query() = 1065 b"42000" User "Query was empty",
        "Send a statement.";
    not_unique_table(name) = 1066 b"42000" User "Not unique table/alias: '{name}'",
        "Give one of the two an alias.";
    invalid_default(column) = 1067 b"42000" User "Invalid default value for '{column}'",
        "Give a default the column's type can hold.";
    multiple_primary_key() = 1068 b"42000" User "Multiple primary key defined",
        "A table has one primary key.";
    too_many_keys(max) = 1069 b"42000" User "Too many keys specified; max {max} keys allowed",
        "Drop indexes that are not used.";
    too_many_key_parts(max) = 1070 b"42000" User "Too many key parts specified; max {max} parts allowed",
        "Index fewer columns.";
    key_too_long(max) = 1071 b"42000" User "Specified key was too long; max key length is {max} bytes",
        "Index a prefix: col(n).";
    key_column_missing(column) = 1072 b"42000" User "Key column '{column}' doesn't exist in table",
        "Check the spelling (SHOW COLUMNS).";
    column_too_long(column, max) = 1074 b"42000" User "Column length too big for column '{column}' (max = {max}); use BLOB or TEXT instead",
        "Use TEXT or BLOB.";
    wrong_auto_key() = 1075 b"42000" User "Incorrect table definition; there can be only one auto column and it must be defined as a key",
        "Have one AUTO_INCREMENT column, and a key on it.";
    wrong_field_terminators() = 1083 b"42000" User "Field separator argument is not what is expected; check the manual",
        "Give one character to enclose and one to escape with.";
    wrong_sub_key() = 1089 b"HY000" User "Incorrect prefix key; the used key part isn't a string, the used length is longer than the key part, or the storage engine doesn't support unique prefix keys",
        "Give a prefix length shorter than the column.";
    cant_remove_all_columns() = 1090 b"42000" User "You can't delete all columns with ALTER TABLE; use DROP TABLE instead",
        "DROP TABLE.";
    cant_drop(name) = 1091 b"42000" User "Can't DROP '{name}'; check that column/key exists",
        "Check the name (SHOW CREATE TABLE).";
    no_such_thread(id) = 1094 b"HY000" User "Unknown thread id: {id}",
        "SHOW PROCESSLIST names those that exist.";
    kill_denied(id) = 1095 b"HY000" User "You are not owner of thread {id}",
        "Only its user or an administrator may end it.";
    no_tables_used() = 1096 b"HY000" User "No tables used",
        "Name a table, or write what to select.";
    too_big_set(column) = 1097 b"HY000" User "Too many strings for column {column} and SET",
        "A SET has at most 64 members.";
    blob_cant_have_default(column) = 1101 b"42000" User "BLOB, TEXT, GEOMETRY or JSON column '{column}' can't have a default value",
        "Leave the default out.";
    wrong_db_name(name) = 1102 b"42000" User "Incorrect database name '{name}'",
        "Choose a name of 1 to 64 characters without a trailing space.";
    wrong_table_name(name) = 1103 b"42000" User "Incorrect table name '{name}'",
        "Choose a name of 1 to 64 characters without a trailing space.";
    long_data_too_long() = 1105 b"HY000" Permanent "Parameter of prepared statement which is set through mysql_send_long_data() is longer than 'max_allowed_packet' bytes",
        "Send less, or raise max_allowed_packet.";
    unknown(message) = 1105 b"HY000" Permanent "{message}",
        "The text says what happened.";
    unknown_table(table, clause) = 1109 b"42S02" User "Unknown table '{table}' in {clause}",
        "Name the table in FROM.";
    field_specified_twice(column) = 1110 b"42000" User "Column '{column}' specified twice",
        "Name it once.";
    invalid_group_func() = 1111 b"HY000" User "Invalid use of group function",
        "Aggregates belong in the select list, HAVING or ORDER BY.";
    table_must_have_columns() = 1113 b"42000" User "A table must have at least 1 column",
        "Define a column.";
    unknown_charset(charset) = 1115 b"42000" User "Unknown character set: '{charset}'",
        "SHOW CHARACTER SET names those there are.";
    too_many_columns() = 1117 b"HY000" User "Too many columns",
        "A table has at most 1017 columns.";
    row_too_big(max) = 1118 b"42000" User "Row size too large. The maximum row size for the used table type, not counting BLOBs, is {max}. This includes storage overhead, check the manual. You have to change some columns to TEXT or BLOBs",
        "Use TEXT or BLOB.";
    column_count_mismatch(row) = 1136 b"21S01" User "Column count doesn't match value count at row {row}",
        "Give as many values as columns.";
    invalid_use_of_null() = 1138 b"22004" User "Invalid use of NULL value",
        "Change the NULL values first.";
    regexp(detail) = 1139 b"42000" User "Got error '{detail}' from regexp",
        "Correct the pattern.";
    mix_of_group_func(number, clause, column) = 1140 b"42000" User "In aggregated query without GROUP BY, expression #{number} of {clause} contains nonaggregated column '{column}'; this is incompatible with sql_mode=only_full_group_by",
        "Add GROUP BY, or aggregate the column.";
    no_such_grant(user, host) = 1141 b"42000" User "There is no such grant defined for user '{user}' on host '{host}'",
        "SHOW GRANTS names those there are.";
    table_access_denied(command, user, host, table) = 1142 b"42000" User "{command} command denied to user '{user}'@'{host}' for table '{table}'",
        "Have the right granted.";
    illegal_grant() = 1144 b"42000" User "Illegal GRANT/REVOKE command; please consult the manual to see which privileges can be used",
        "Grant what the level can have: SHOW PRIVILEGES.";
    no_such_table(db, table) = 1146 b"42S02" User "Table '{db}.{table}' doesn't exist",
        "Check the spelling (SHOW TABLES).";
    no_such_table_grant(user, host, table) = 1147 b"42000" User "There is no such grant defined for user '{user}' on host '{host}' on table '{table}'",
        "SHOW GRANTS names those there are.";
    packet_too_large() = 1153 b"08S01" User "Got a packet bigger than 'max_allowed_packet' bytes",
        "Send less at once or raise max_allowed_packet.";
    packets_out_of_order() = 1156 b"08S01" User "Got packets out of order",
        "The connection is broken: open another.";
    wrong_column_name(name) = 1166 b"42000" User "Incorrect column name '{name}'",
        "Choose a name of 1 to 64 characters without a trailing space.";
    wrong_key_column(column) = 1167 b"42000" User "The used storage engine can't index column '{column}'",
        "Index another column.";
    blob_key_without_length(column) = 1170 b"42000" User "BLOB/TEXT column '{column}' used in key specification without a key length",
        "Index a prefix: col(n).";
    primary_cant_have_null() = 1171 b"42000" User "All parts of a PRIMARY KEY must be NOT NULL; if you need NULL in a key, use UNIQUE instead",
        "Declare the columns NOT NULL, or use UNIQUE.";
    too_many_rows() = 1172 b"42000" User "Result consisted of more than one row",
        "Add LIMIT 1, or a condition that only one row meets.";
    key_does_not_exist(key, table) = 1176 b"42000" User "Key '{key}' doesn't exist in table '{table}'",
        "SHOW INDEX names those there are.";
    unknown_system_variable(name) = 1193 b"HY000" User "Unknown system variable '{name}'",
        "SHOW VARIABLES names those there are.";
    lock_wait_timeout() = 1205 b"HY000" Transient "Lock wait timeout exceeded; try restarting transaction",
        "Run the transaction again.";
    wrong_arguments(function) = 1210 b"HY000" User "Incorrect arguments to {function}",
        "Check the arguments.";
    deadlock() = 1213 b"40001" Transient "Deadlock found when trying to get lock; try restarting transaction",
        "Run the transaction again.";
    wrong_usage(left, right) = 1221 b"HY000" User "Incorrect usage of {left} and {right}",
        "The two do not go together.";
    different_column_counts() = 1222 b"21000" User "The used SELECT statements have a different number of columns",
        "Select as many columns on both sides.";
    specific_access_denied(privilege) = 1227 b"42000" User "Access denied; you need (at least one of) the {privilege} privilege(s) for this operation",
        "Have the privilege granted.";
    local_variable(name) = 1228 b"HY000" User "Variable '{name}' is a SESSION variable and can't be used with SET GLOBAL",
        "SET SESSION.";
    global_variable(name) = 1229 b"HY000" User "Variable '{name}' is a GLOBAL variable and should be set with SET GLOBAL",
        "SET GLOBAL.";
    wrong_value_for_variable(name, value) = 1231 b"42000" User "Variable '{name}' can't be set to the value of '{value}'",
        "The text or the documentation says which values are allowed.";
    variable_refused(name, value, detail) = 1231 b"42000" User "Variable '{name}' can't be set to the value of '{value}': {detail}",
        "The text says what is wrong with it.";
    wrong_type_for_variable(name) = 1232 b"42000" User "Incorrect argument type to variable '{name}'",
        "Give a value of the variable's type.";
    not_supported_yet(what) = 1235 b"42000" User "This version of Ilmenite doesn't yet support '{what}'",
        "Write it another way.";
    table_locks_not_taken() = 1235 b"42000" User "LOCK TABLES locks nothing: use transactions and SELECT ... FOR UPDATE",
        "Use a transaction; for a consistent dump, mysqldump --single-transaction.";
    wrong_variable_scope(name, kind) = 1238 b"HY000" User "Variable '{name}' is a {kind} variable",
        "It cannot be set like that.";
    session_variable_read_only(name) = 1238 b"HY000" User "SESSION variable '{name}' is read-only. Use SET GLOBAL to assign the value",
        "SET GLOBAL.";
    operand_columns(count) = 1241 b"21000" User "Operand should contain {count} column(s)",
        "Compare rows of the same width.";
    subquery_more_than_one_row() = 1242 b"21000" User "Subquery returns more than 1 row",
        "Add LIMIT 1, or use IN.";
    unknown_statement_handler(name, command) = 1243 b"HY000" User "Unknown prepared statement handler ({name}) given to {command}",
        "PREPARE it first.";
    derived_must_have_alias() = 1248 b"42000" User "Every derived table must have its own alias",
        "Give the subquery in FROM an alias.";
    collation_charset_mismatch(collation, charset) = 1253 b"42000" User "COLLATION '{collation}' is not valid for CHARACTER SET '{charset}'",
        "Choose a collation of that character set (SHOW COLLATION).";
    cut_value_group_concat(row) = 1260 b"HY000" User "Row {row} was cut by GROUP_CONCAT()",
        "Raise group_concat_max_len.";
    too_few_records(row) = 1261 b"01000" User "Row {row} doesn't contain data for all columns",
        "Name the columns the file has.";
    too_many_records(row) = 1262 b"01000" User "Row {row} was truncated; it contained more data than there were input columns",
        "Name all columns the file has; read the others into variables.";
    out_of_range(column, row) = 1264 b"22003" User "Out of range value for column '{column}' at row {row}",
        "Store a smaller value or widen the column.";
    data_truncated(column, row) = 1265 b"01000" User "Data truncated for column '{column}' at row {row}",
        "Store a value the column can hold.";
    other_engine(engine, table) = 1266 b"HY000" User "Using storage engine {engine} for table '{table}'",
        "A warning. Leave ENGINE out.";
    illegal_mix_2(left, right, operation) = 1267 b"HY000" User "Illegal mix of collations {left} and {right} for operation '{operation}'",
        "Add COLLATE to one side.";
    cannot_revoke_all() = 1269 b"HY000" User "Can't revoke all privileges for one or more of the requested users",
        "Check which accounts there are.";
    unknown_collation(collation) = 1273 b"HY000" User "Unknown collation: '{collation}'",
        "SHOW COLLATION names those there are.";
    wrong_index_name(name) = 1280 b"42000" User "Incorrect index name '{name}'",
        "Choose a name of 1 to 64 characters other than PRIMARY.";
    unknown_engine(engine) = 1286 b"42000" User "Unknown storage engine '{engine}'",
        "Leave ENGINE out.";
    non_updatable_table(table, statement) = 1288 b"HY000" User "The target table {table} of the {statement} is not updatable",
        "Name the table below it.";
    read_only_server(option) = 1290 b"HY000" User "The MySQL server is running with the --{option} option so it cannot execute this statement",
        "Wait until it is switched off (SET GLOBAL read_only = OFF), or write elsewhere.";
    duplicated_value_in_type(column, value, kind) = 1291 b"HY000" User "Column '{column}' has duplicated value '{value}' in {kind}",
        "Name each member once.";
    truncated_wrong_value(kind, value) = 1292 b"22007" User "Truncated incorrect {kind} value: '{value}'",
        "Give a value of that type.";
    incorrect_time(kind, value) = 1292 b"22007" User "Incorrect {kind} value: '{value}'",
        "Give a value of that type.";
    incorrect_time_for_column(kind, value, column, row) = 1292 b"22007" User "Incorrect {kind} value: '{value}' for column '{column}' at row {row}",
        "Give a value of that type.";
    invalid_on_update(column) = 1294 b"HY000" User "Invalid ON UPDATE clause for '{column}' column",
        "Only DATETIME and TIMESTAMP columns can have it, with CURRENT_TIMESTAMP of the same precision.";
    unsupported_in_prepare() = 1295 b"HY000" User "This command is not supported in the prepared statement protocol yet",
        "Send it as text.";
    unknown_time_zone(zone) = 1298 b"HY000" User "Unknown or incorrect time zone: '{zone}'",
        "Use an IANA name, an offset like +02:00, or SYSTEM.";
    invalid_character_string(charset, value) = 1300 b"HY000" User "Invalid {charset} character string: '{value}'",
        "Send text in the connection's character set.";
    allowed_packet_overflowed(function, bytes) = 1301 b"HY000" User "Result of {function}() was larger than max_allowed_packet ({bytes}) - truncated",
        "Ask for less, or raise max_allowed_packet.";
    does_not_exist(kind, name) = 1305 b"42000" User "{kind} {name} does not exist",
        "Check the spelling.";
    query_interrupted() = 1317 b"70100" Cancelled "Query execution was interrupted",
        "Somebody ended it (KILL, a timeout, a shutdown).";
    ddl_job_detached(id) = 1317 b"70100" Cancelled "Query execution was interrupted; DDL job {id} goes on in the background",
        "ADMIN SHOW DDL JOBS shows it; ADMIN CANCEL DDL JOBS ends it.";
    no_data() = 1329 b"02000" User "No data - zero rows fetched, selected, or processed",
        "Nothing was found; the variables keep their values.";
    wrong_object(name, kind) = 1347 b"HY000" User "'{name}' is not {kind}",
        "Name an object of that kind.";
    view_wrong_list() = 1353 b"HY000" User "In definition of view, derived table or common table expression, SELECT list and column names list have different column counts",
        "Name as many columns as there are.";
    no_default_for_field(column) = 1364 b"HY000" User "Field '{column}' doesn't have a default value",
        "Give the column a value.";
    division_by_zero() = 1365 b"22012" User "Division by 0",
        "Guard with NULLIF(divisor, 0).";
    incorrect_value_for_column(kind, value, column, row) = 1366 b"HY000" User "Incorrect {kind} value: '{value}' for column '{column}' at row {row}",
        "Store a value of the column's type and character set.";
    illegal_value_for_type(kind, value) = 1367 b"22007" User "Illegal {kind} '{value}' value found during parsing",
        "Give a value of that type.";
    too_many_placeholders() = 1390 b"HY000" User "Prepared statement contains too many placeholders",
        "At most 65535 to a statement.";
    key_part_zero(column) = 1391 b"HY000" User "Key part '{column}' length cannot be 0",
        "Give a length of at least 1.";
    cannot_user(operation, user) = 1396 b"HY000" User "Operation {operation} failed for {user}",
        "Check which accounts there are (SELECT user, host FROM mysql.user).";
    last_administrator(operation, user) = 1396 b"HY000" User "Operation {operation} failed for {user}: nobody would be left to administer accounts",
        "Give another account all privileges WITH GRANT OPTION first.";
    data_too_long(column, row) = 1406 b"22001" User "Data too long for column '{column}' at row {row}",
        "Shorten the value or widen the column.";
    text_too_long(length, max) = 1406 b"22001" User "Data too long: {length} characters where {max} are allowed",
        "Shorten the value.";
    cannot_create_with_grant() = 1410 b"42000" User "You are not allowed to create a user with GRANT",
        "CREATE USER first.";
    wrong_value_for_function(kind, value, function) = 1411 b"HY000" User "Incorrect {kind} value: '{value}' for function {function}",
        "Give a value of that type.";
    too_big_scale(scale, column, max) = 1425 b"42000" User "Too big scale {scale} specified for column '{column}'. Maximum is {max}.",
        "Give a smaller scale.";
    too_big_precision(precision, column, max) = 1426 b"42000" User "Too-big precision {precision} specified for '{column}'. Maximum is {max}.",
        "Give a smaller precision.";
    m_bigger_than_d(column) = 1427 b"42000" User "For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '{column}').",
        "Give M >= D.";
    stack_overrun() = 1436 b"HY000" User "Thread stack overrun: the statement nests too deep",
        "Write it with less nesting.";
    too_big_display_width(column, max) = 1439 b"42000" User "Display width out of range for column '{column}' (max = {max})",
        "Give a smaller width.";
    datetime_field_overflow(field) = 1441 b"22008" User "Datetime function: {field} field overflow",
        "Give a smaller interval.";
    too_many_prepared(max) = 1461 b"42000" Resource "Can't create more than max_prepared_stmt_count statements (current value: {max})",
        "Close statements that are not used.";
    user_name_too_long(user) = 1470 b"HY000" User "String '{user}' is too long for user name (should be no longer than 32)",
        "Choose a shorter name.";
    plugin_not_loaded(name) = 1524 b"HY000" User "Plugin '{name}' is not loaded",
        "Use mysql_native_password or caching_sha2_password.";
    wrong_value(kind, value) = 1525 b"HY000" User "Incorrect {kind} value: '{value}'",
        "Give a value of that type.";
    cant_change_tx() = 1568 b"25001" User "Transaction characteristics can't be changed while a transaction is in progress",
        "COMMIT first.";
    wrong_param_count(function) = 1582 b"42000" User "Incorrect parameter count in the call to native function '{function}'",
        "Check the function's arguments.";
    table_comment_too_long(name, max) = 1628 b"HY000" User "Comment for table '{name}' is too long (max = {max})",
        "Shorten it.";
    field_comment_too_long(name, max) = 1629 b"HY000" User "Comment for field '{name}' is too long (max = {max})",
        "Shorten it.";
    index_comment_too_long(name, max) = 1688 b"HY000" User "Comment for index '{name}' is too long (max = {max})",
        "Shorten it.";
    value_out_of_range(kind, expr) = 1690 b"22003" User "{kind} value is out of range in '{expr}'",
        "Compute in DECIMAL or DOUBLE: CAST an operand.";
    unknown_explain_format(name) = 1791 b"HY000" User "Unknown EXPLAIN format name: '{name}'",
        "Use traditional, brief, tree or json.";
    read_only_transaction() = 1792 b"25006" User "Cannot execute statement in a READ ONLY transaction.",
        "Start the transaction READ WRITE.";
    unknown_alter_algorithm(name) = 1800 b"HY000" User "Unknown ALGORITHM '{name}'",
        "Use DEFAULT, INSTANT, INPLACE or COPY.";
    unknown_alter_lock(name) = 1801 b"HY000" User "Unknown LOCK type '{name}'",
        "Use DEFAULT, NONE, SHARED or EXCLUSIVE.";
    invalid_year_length() = 1818 b"HY000" User "Supports only YEAR or YEAR(4) column.",
        "Write YEAR.";
    password_format() = 1827 b"HY000" User "The password hash doesn't have the expected format. Check if the correct password algorithm is being used with the PASSWORD() function.",
        "Give the hash as mysql.user shows it.";
    malformed_packet() = 1835 b"HY000" User "Malformed communication packet.",
        "The client sent what the protocol does not allow: check its version.";
    alter_not_supported(what, instead) = 1845 b"0A000" User "{what} is not supported for this operation. Try {instead}.",
        "Use what the text names.";
    alter_not_supported_reason(what, reason, instead) = 1846 b"0A000" User "{what} is not supported. Reason: {reason}. Try {instead}.",
        "Use what the text names.";
    invalid_field_size(column) = 3013 b"HY000" User "Invalid size for column '{column}'.",
        "Give a size of at least 1.";
    invalid_argument_for_logarithm() = 3020 b"2201E" User "Invalid argument for logarithm",
        "A warning, the result is NULL. Check the argument.";
    max_execution_time() = 3024 b"HY000" Cancelled "Query execution was interrupted, maximum statement execution time exceeded",
        "Raise max_execution_time, or ask for less.";
    lock_name_wrong(name) = 3057 b"42000" User "Incorrect user-level lock name '{name}'.",
        "A lock's name has 1 to 64 characters.";
    order_by_not_in_select(number, clause, column, reason) = 3065 b"HY000" User "Expression #{number} of {clause} is not in SELECT list, references column '{column}' which is not in SELECT list; this is incompatible with {reason}",
        "Select the column too.";
    invalid_json_text(detail, position, column) = 3140 b"22032" User "Invalid JSON text: \"{detail}\" at position {position} in value for column '{column}'.",
        "Store valid JSON.";
    invalid_json_text_in_param(argument, function, detail, position) = 3141 b"22032" User "Invalid JSON text in argument {argument} to function {function}: \"{detail}\" at position {position}.",
        "Give valid JSON.";
    invalid_json_path(position) = 3143 b"42000" User "Invalid JSON path expression. The error is around character position {position}.",
        "Correct the path.";
    invalid_json_charset(charset) = 3144 b"22032" User "Cannot create a JSON value from a string with CHARACTER SET '{charset}'.",
        "CONVERT(value USING utf8mb4).";
    invalid_type_for_json(argument, function) = 3146 b"22032" User "Invalid data type for JSON data in argument {argument} to function {function}; a JSON string or JSON type is required.",
        "Give a string or JSON.";
    invalid_json_path_wildcard() = 3149 b"42000" User "In this situation, path expressions may not contain the * and ** tokens or an array range.",
        "Name one place.";
    json_used_as_key(column) = 3152 b"42000" User "JSON column '{column}' supports indexing only via generated columns on a specified JSON path.",
        "Index a generated column.";
    json_path_is_root() = 3153 b"42000" User "The path expression '$' is not allowed in this context.",
        "Name a member of the document.";
    json_bad_one_or_all(function) = 3154 b"42000" User "The oneOrAll argument to {function} may take these values: 'one' or 'all'.",
        "Write 'one' or 'all'.";
    json_null_key() = 3158 b"22032" User "JSON documents may not contain NULL member names.",
        "Give every member a name.";
    secure_transport_required() = 3159 b"HY000" User "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
        "Connect with TLS.";
    no_such_user(user) = 3162 b"HY000" User "Authorization ID {user} does not exist.",
        "Create the account first.";
    user_already_exists(user) = 3163 b"HY000" User "Authorization ID {user} already exists.",
        "A note: nothing was changed.";
    primary_cant_be_invisible() = 3522 b"HY000" User "A primary key index cannot be invisible",
        "Leave INVISIBLE out.";
    lock_nowait() = 3572 b"HY000" Transient "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.",
        "Try again, or wait for the lock.";
    table_without_primary_key() = 3750 b"HY000" User "Unable to create or change a table without a primary key, when the system variable 'sql_require_primary_key' is set. Add a primary key to the table or unset this variable to avoid this message. Note that tables without a primary key can cause performance problems in row-based replication, so please consult your DBA before changing this setting.",
        "Add a primary key.";
    dynamic_privilege_not_registered(name) = 3929 b"HY000" User "Dynamic privilege '{name}' is not registered with the server.",
        "SHOW PRIVILEGES names those there are.";
    local_infile_disabled() = 3948 b"42000" User "Loading local data is disabled; this must be enabled on both the client and server sides",
        "Start the client with --local-infile=1.";
    entry_too_large(what, bytes, limit) = 8025 b"HY000" User "entry too large: {what} has {bytes} bytes, the limit is {limit}",
        "Store a smaller value.";
    schema_changed() = 8028 b"HY000" Transient "Information schema is changed during the execution of the statement(for example, table definition may be updated by other DDL ran in parallel). If you see this error often, try increasing `tidb_max_delta_schema_count`. [try again later]",
        "Run the transaction again.";
    query_memory_exceeded(conn) = 8175 b"HY000" Resource "Your query has been cancelled due to exceeding the allowed memory limit for a single SQL query. Please try narrowing your query scope or increase the tidb_mem_quota_query limit and try again.[conn={conn}]",
        "Narrow the query or raise tidb_mem_quota_query.";
    unsupported_ddl(what) = 8200 b"HY000" User "Unsupported {what}",
        "Do it another way.";
    ddl_job_cancelled() = 8214 b"HY000" Cancelled "Cancelled DDL job",
        "Somebody cancelled it; run the statement again if it is still wanted.";
    data_inconsistent(table, index, detail) = 8223 b"HY000" Permanent "data inconsistency in table: {table}, index: {index}, {detail}",
        "Keep the evidence, then drop the index and add it again.";
    ddl_job_not_found(id) = 8224 b"HY000" User "DDL Job:{id} not found",
        "ADMIN SHOW DDL JOBS names those there are.";
    cancel_finished_job(id) = 8225 b"HY000" User "This job:{id} is finished, so can't be cancelled",
        "Nothing to do: the job has ended.";
    cannot_cancel_job(id) = 8226 b"HY000" User "This job:{id} is almost finished, can't be cancelled now",
        "Wait for its end, then undo it with another statement.";
    ingest_env(detail) = 8256 b"HY000" Resource "Check ingest environment failed: {detail}",
        "Give the sort directory space and rights.";
    cannot_pause_job(id, reason) = 8260 b"HY000" User "Job [{id}] can't be paused: {reason}",
        "Only a job that is running or queued can be paused.";
    cannot_resume_job(id, reason) = 8261 b"HY000" User "Job [{id}] can't be resumed: {reason}",
        "Only a paused job can be resumed.";
    job_paused(id) = 8262 b"HY000" User "Job [{id}] has already been paused",
        "ADMIN RESUME DDL JOBS continues it.";
    cannot_alter_job(id, reason) = 8265 b"HY000" User "Job [{id}] can't be altered: {reason}",
        "Only a running ADD INDEX takes new settings.";
    gc_too_early(start, safe_point) = 9006 b"HY000" Permanent "GC life time is shorter than transaction duration, transaction starts at {start}, GC safe point is {safe_point}",
        "Run the transaction again, in less time.";
    write_conflict(start, conflict) = 9007 b"HY000" Transient "Write conflict, txnStartTS={start}, conflictCommitTS={conflict} [try again later]",
        "Run the transaction again.";
}

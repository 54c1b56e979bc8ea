//! Tables that clients ask for and that have no rows here, with MySQL's columns: an error would stop those clients.

use super::define::{Definition, Source};

macro_rules! empty {
    ($($schema:literal $name:literal $columns:literal;)*) => {
        pub(super) const TABLES: &[Definition] = &[$(Definition {
            schema: $schema,
            name: $name,
            columns: $columns,
            source: Source::Empty,
        }),*];
    };
}

empty! {
    "information_schema" "VIEWS" "
        TABLE_CATALOG varchar(64) not null
        TABLE_SCHEMA varchar(64) not null
        TABLE_NAME varchar(64) not null
        VIEW_DEFINITION longtext
        CHECK_OPTION enum('NONE','LOCAL','CASCADED')
        IS_UPDATABLE enum('NO','YES')
        DEFINER varchar(288)
        SECURITY_TYPE varchar(7)
        CHARACTER_SET_CLIENT varchar(64) not null
        COLLATION_CONNECTION varchar(64) not null";
    "information_schema" "ROUTINES" "
        SPECIFIC_NAME varchar(64) not null
        ROUTINE_CATALOG varchar(64) not null
        ROUTINE_SCHEMA varchar(64) not null
        ROUTINE_NAME varchar(64) not null
        ROUTINE_TYPE enum('FUNCTION','PROCEDURE') not null
        DATA_TYPE longtext
        CHARACTER_MAXIMUM_LENGTH bigint
        CHARACTER_OCTET_LENGTH bigint
        NUMERIC_PRECISION int unsigned
        NUMERIC_SCALE int unsigned
        DATETIME_PRECISION int unsigned
        CHARACTER_SET_NAME varchar(64)
        COLLATION_NAME varchar(64)
        DTD_IDENTIFIER longtext
        ROUTINE_BODY varchar(3) not null
        ROUTINE_DEFINITION longtext
        EXTERNAL_NAME binary(0)
        EXTERNAL_LANGUAGE varchar(64) not null
        PARAMETER_STYLE varchar(3) not null
        IS_DETERMINISTIC varchar(3) not null
        SQL_DATA_ACCESS enum('CONTAINS SQL','NO SQL','READS SQL DATA','MODIFIES SQL DATA') not null
        SQL_PATH binary(0)
        SECURITY_TYPE enum('DEFAULT','INVOKER','DEFINER') not null
        CREATED timestamp not null
        LAST_ALTERED timestamp not null
        SQL_MODE varchar(1024) not null
        ROUTINE_COMMENT text not null
        DEFINER varchar(288) not null
        CHARACTER_SET_CLIENT varchar(64) not null
        COLLATION_CONNECTION varchar(64) not null
        DATABASE_COLLATION varchar(64) not null";
    "information_schema" "PARAMETERS" "
        SPECIFIC_CATALOG varchar(64) not null
        SPECIFIC_SCHEMA varchar(64) not null
        SPECIFIC_NAME varchar(64) not null
        ORDINAL_POSITION bigint unsigned not null
        PARAMETER_MODE varchar(5)
        PARAMETER_NAME varchar(64)
        DATA_TYPE longtext
        CHARACTER_MAXIMUM_LENGTH bigint
        CHARACTER_OCTET_LENGTH bigint
        NUMERIC_PRECISION int unsigned
        NUMERIC_SCALE bigint
        DATETIME_PRECISION int unsigned
        CHARACTER_SET_NAME varchar(64)
        COLLATION_NAME varchar(64)
        DTD_IDENTIFIER mediumtext not null
        ROUTINE_TYPE enum('FUNCTION','PROCEDURE') not null";
    "information_schema" "TRIGGERS" "
        TRIGGER_CATALOG varchar(64) not null
        TRIGGER_SCHEMA varchar(64) not null
        TRIGGER_NAME varchar(64) not null
        EVENT_MANIPULATION enum('INSERT','UPDATE','DELETE') not null
        EVENT_OBJECT_CATALOG varchar(64) not null
        EVENT_OBJECT_SCHEMA varchar(64) not null
        EVENT_OBJECT_TABLE varchar(64) not null
        ACTION_ORDER int unsigned not null
        ACTION_CONDITION binary(0)
        ACTION_STATEMENT longtext not null
        ACTION_ORIENTATION varchar(3) not null
        ACTION_TIMING enum('BEFORE','AFTER') not null
        ACTION_REFERENCE_OLD_TABLE binary(0)
        ACTION_REFERENCE_NEW_TABLE binary(0)
        ACTION_REFERENCE_OLD_ROW varchar(3) not null
        ACTION_REFERENCE_NEW_ROW varchar(3) not null
        CREATED timestamp(2) not null
        SQL_MODE varchar(1024) not null
        DEFINER varchar(288) not null
        CHARACTER_SET_CLIENT varchar(64) not null
        COLLATION_CONNECTION varchar(64) not null
        DATABASE_COLLATION varchar(64) not null";
    "information_schema" "EVENTS" "
        EVENT_CATALOG varchar(64) not null
        EVENT_SCHEMA varchar(64) not null
        EVENT_NAME varchar(64) not null
        DEFINER varchar(288) not null
        TIME_ZONE varchar(64) not null
        EVENT_BODY varchar(3) not null
        EVENT_DEFINITION longtext not null
        EVENT_TYPE varchar(9) not null
        EXECUTE_AT datetime
        INTERVAL_VALUE varchar(256)
        INTERVAL_FIELD enum('YEAR','QUARTER','MONTH','DAY','HOUR','MINUTE','WEEK','SECOND','MICROSECOND','YEAR_MONTH','DAY_HOUR','DAY_MINUTE','DAY_SECOND','HOUR_MINUTE','HOUR_SECOND','MINUTE_SECOND','DAY_MICROSECOND','HOUR_MICROSECOND','MINUTE_MICROSECOND','SECOND_MICROSECOND')
        SQL_MODE varchar(1024) not null
        STARTS datetime
        ENDS datetime
        STATUS enum('ENABLED','DISABLED','SLAVESIDE_DISABLED') not null
        ON_COMPLETION varchar(12) not null
        CREATED timestamp not null
        LAST_ALTERED timestamp not null
        LAST_EXECUTED datetime
        EVENT_COMMENT varchar(2048) not null
        ORIGINATOR int unsigned not null
        CHARACTER_SET_CLIENT varchar(64) not null
        COLLATION_CONNECTION varchar(64) not null
        DATABASE_COLLATION varchar(64) not null";
    "information_schema" "FILES" "
        FILE_ID bigint
        FILE_NAME text
        FILE_TYPE varchar(256)
        TABLESPACE_NAME varchar(268) not null
        TABLE_CATALOG char(0) not null
        TABLE_SCHEMA binary(0)
        TABLE_NAME binary(0)
        LOGFILE_GROUP_NAME varchar(256)
        LOGFILE_GROUP_NUMBER bigint
        ENGINE varchar(64) not null
        FULLTEXT_KEYS binary(0)
        DELETED_ROWS binary(0)
        UPDATE_COUNT binary(0)
        FREE_EXTENTS bigint
        TOTAL_EXTENTS bigint
        EXTENT_SIZE bigint
        INITIAL_SIZE bigint
        MAXIMUM_SIZE bigint
        AUTOEXTEND_SIZE bigint
        CREATION_TIME binary(0)
        LAST_UPDATE_TIME binary(0)
        LAST_ACCESS_TIME binary(0)
        RECOVER_TIME binary(0)
        TRANSACTION_COUNTER binary(0)
        VERSION bigint
        ROW_FORMAT varchar(256)
        TABLE_ROWS binary(0)
        AVG_ROW_LENGTH binary(0)
        DATA_LENGTH binary(0)
        MAX_DATA_LENGTH binary(0)
        INDEX_LENGTH binary(0)
        DATA_FREE bigint
        CREATE_TIME binary(0)
        UPDATE_TIME binary(0)
        CHECK_TIME binary(0)
        CHECKSUM binary(0)
        STATUS varchar(256)
        EXTRA varchar(256)";
    "information_schema" "COLUMN_STATISTICS" "
        SCHEMA_NAME varchar(64) not null
        TABLE_NAME varchar(64) not null
        COLUMN_NAME varchar(64) not null
        HISTOGRAM json not null";
    "information_schema" "COLUMN_PRIVILEGES" "
        GRANTEE varchar(292) not null
        TABLE_CATALOG varchar(512) not null
        TABLE_SCHEMA varchar(64) not null
        TABLE_NAME varchar(64) not null
        COLUMN_NAME varchar(64) not null
        PRIVILEGE_TYPE varchar(64) not null
        IS_GRANTABLE varchar(3) not null";
    "information_schema" "INNODB_METRICS" "
        NAME varchar(193) not null
        SUBSYSTEM varchar(193) not null
        COUNT bigint not null
        MAX_COUNT bigint
        MIN_COUNT bigint
        AVG_COUNT float
        COUNT_RESET bigint not null
        MAX_COUNT_RESET bigint
        MIN_COUNT_RESET bigint
        AVG_COUNT_RESET float
        TIME_ENABLED datetime
        TIME_DISABLED datetime
        TIME_ELAPSED bigint
        TIME_RESET datetime
        STATUS varchar(193) not null
        TYPE varchar(193) not null
        COMMENT varchar(193) not null";
    "performance_schema" "events_statements_summary_by_digest" "
        SCHEMA_NAME varchar(64)
        DIGEST varchar(64)
        DIGEST_TEXT longtext
        COUNT_STAR bigint unsigned not null
        SUM_TIMER_WAIT bigint unsigned not null
        MIN_TIMER_WAIT bigint unsigned not null
        AVG_TIMER_WAIT bigint unsigned not null
        MAX_TIMER_WAIT bigint unsigned not null
        SUM_LOCK_TIME bigint unsigned not null
        SUM_ERRORS bigint unsigned not null
        SUM_WARNINGS bigint unsigned not null
        SUM_ROWS_AFFECTED bigint unsigned not null
        SUM_ROWS_SENT bigint unsigned not null
        SUM_ROWS_EXAMINED bigint unsigned not null
        SUM_CREATED_TMP_DISK_TABLES bigint unsigned not null
        SUM_CREATED_TMP_TABLES bigint unsigned not null
        SUM_SELECT_FULL_JOIN bigint unsigned not null
        SUM_SELECT_FULL_RANGE_JOIN bigint unsigned not null
        SUM_SELECT_RANGE bigint unsigned not null
        SUM_SELECT_RANGE_CHECK bigint unsigned not null
        SUM_SELECT_SCAN bigint unsigned not null
        SUM_SORT_MERGE_PASSES bigint unsigned not null
        SUM_SORT_RANGE bigint unsigned not null
        SUM_SORT_ROWS bigint unsigned not null
        SUM_SORT_SCAN bigint unsigned not null
        SUM_NO_INDEX_USED bigint unsigned not null
        SUM_NO_GOOD_INDEX_USED bigint unsigned not null
        SUM_CPU_TIME bigint unsigned not null
        MAX_CONTROLLED_MEMORY bigint unsigned not null
        MAX_TOTAL_MEMORY bigint unsigned not null
        COUNT_SECONDARY bigint unsigned not null
        FIRST_SEEN timestamp(6) not null
        LAST_SEEN timestamp(6) not null
        QUANTILE_95 bigint unsigned not null
        QUANTILE_99 bigint unsigned not null
        QUANTILE_999 bigint unsigned not null
        QUERY_SAMPLE_TEXT longtext
        QUERY_SAMPLE_SEEN timestamp(6) not null
        QUERY_SAMPLE_TIMER_WAIT bigint unsigned not null";
}

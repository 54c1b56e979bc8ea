//! Privileges, by the names GRANT gives them.

macro_rules! privileges {
    ($($variant:ident = $bit:literal $name:literal),* $(,)?) => {
        /// One privilege, with the name GRANT gives it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Privilege {
            $($variant = $bit),*
        }

        impl Privilege {
            /// All of them, in the order SHOW GRANTS prints.
            pub const ALL: &'static [Privilege] = &[$(Privilege::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Privilege::$variant => $name),*
                }
            }
        }
    };
}

privileges! {
    Select = 0 "SELECT",
    Insert = 1 "INSERT",
    Update = 2 "UPDATE",
    Delete = 3 "DELETE",
    Create = 4 "CREATE",
    Drop = 5 "DROP",
    Reload = 6 "RELOAD",
    Shutdown = 7 "SHUTDOWN",
    Process = 8 "PROCESS",
    File = 9 "FILE",
    References = 10 "REFERENCES",
    Index = 11 "INDEX",
    Alter = 12 "ALTER",
    ShowDatabases = 13 "SHOW DATABASES",
    Super = 14 "SUPER",
    CreateTemporaryTables = 15 "CREATE TEMPORARY TABLES",
    LockTables = 16 "LOCK TABLES",
    Execute = 17 "EXECUTE",
    ReplicationSlave = 18 "REPLICATION SLAVE",
    ReplicationClient = 19 "REPLICATION CLIENT",
    CreateView = 20 "CREATE VIEW",
    ShowView = 21 "SHOW VIEW",
    CreateRoutine = 22 "CREATE ROUTINE",
    AlterRoutine = 23 "ALTER ROUTINE",
    CreateUser = 24 "CREATE USER",
    Event = 25 "EVENT",
    Trigger = 26 "TRIGGER",
    CreateTablespace = 27 "CREATE TABLESPACE",
    CreateRole = 28 "CREATE ROLE",
    DropRole = 29 "DROP ROLE",
    Config = 30 "CONFIG",
    GrantOption = 31 "GRANT OPTION",
}

impl Privilege {
    pub fn parse(name: &str) -> Option<Privilege> {
        Privilege::ALL
            .iter()
            .copied()
            .find(|p| p.as_str().eq_ignore_ascii_case(name))
    }

    /// Privileges that only make sense for the server as a whole.
    pub fn is_administrative(self) -> bool {
        use Privilege::*;
        matches!(
            self,
            Reload
                | Shutdown
                | Process
                | File
                | ShowDatabases
                | Super
                | ReplicationSlave
                | ReplicationClient
                | CreateUser
                | CreateTablespace
                | CreateRole
                | DropRole
                | Config
        )
    }

    /// Those a table can have.
    pub fn applies_to_table(self) -> bool {
        use Privilege::*;
        matches!(
            self,
            Select
                | Insert
                | Update
                | Delete
                | Create
                | Drop
                | References
                | Index
                | Alter
                | CreateView
                | ShowView
                | Trigger
                | GrantOption
        )
    }
}

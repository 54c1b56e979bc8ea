//! Tables from CREATE TABLE, as the catalog would have them; only what planning looks at.

use ilmenite_catalog::{ColumnInfo, IndexColumn, IndexInfo, Name, SchemaState, TableInfo};
use ilmenite_parser::{ColumnDef, CreateTable, DataType, IndexDef, IndexKind, IndexPartDef, TypeName};
use ilmenite_types::{Charset, Collation, FieldFlags, FieldType, TypeCode};
use sqlparser::ast as sql;

pub(crate) fn table(create: &CreateTable, id: i64) -> TableInfo {
    let said = &create.options.charset;
    let collation = collation(
        said.charset.as_deref(),
        said.collate.as_deref(),
        Collation::UTF8MB4_BIN,
    );
    let columns: Vec<ColumnInfo> = create
        .columns
        .iter()
        .enumerate()
        .map(|(offset, def)| column(def, offset, collation))
        .collect();
    let mut table = TableInfo {
        id,
        name: Name::new(&create.table.name),
        charset: collation.charset().name.into(),
        collate: collation.name().into(),
        max_col_id: columns.len() as i64,
        columns,
        indexes: Vec::new(),
        state: SchemaState::Public,
        pk_is_handle: false,
        is_common_handle: false,
        common_handle_version: 0,
        comment: String::new(),
        auto_inc_id: 0,
        max_idx_id: 0,
        update_ts: 0,
        unknown: Default::default(),
    };
    let mut clustered = None;
    for def in &create.columns {
        if def.primary || def.unique {
            clustered = clustered.or(def.clustered);
            let index = index(&table, None, &[(def.name.clone(), None)], def.unique, def.primary);
            table.indexes.push(index);
        }
    }
    for def in &create.indexes {
        clustered = clustered.or(def.clustered);
        let index = IndexInfo {
            invisible: def.invisible,
            ..index_of(&table, def)
        };
        table.indexes.push(index);
    }
    cluster(&mut table, clustered);
    table
}

fn index_of(table: &TableInfo, def: &IndexDef) -> IndexInfo {
    let parts: Vec<(String, Option<u64>)> = def
        .parts
        .iter()
        .map(|part| match part {
            IndexPartDef::Column { name, length, .. } => (name.clone(), *length),
            IndexPartDef::Expression(expr) => panic!("an index on {expr}"),
        })
        .collect();
    let (unique, primary) = (def.kind == IndexKind::Unique, def.kind == IndexKind::Primary);
    index(table, def.name.as_deref(), &parts, unique, primary)
}

fn index(
    table: &TableInfo,
    name: Option<&str>,
    parts: &[(String, Option<u64>)],
    unique: bool,
    primary: bool,
) -> IndexInfo {
    let part = |(name, length): &(String, Option<u64>)| {
        let column = table
            .column(name)
            .unwrap_or_else(|| panic!("a key on {name}, which is no column"));
        IndexColumn {
            name: column.name.clone(),
            offset: column.offset,
            length: length.map_or(-1, |length| length as i32),
            unknown: Default::default(),
        }
    };
    let name = if primary {
        "PRIMARY"
    } else {
        name.unwrap_or(&parts[0].0)
    };
    IndexInfo {
        id: table.indexes.len() as i64 + 1,
        name: Name::new(name),
        columns: parts.iter().map(part).collect(),
        state: SchemaState::Public,
        comment: String::new(),
        unique: unique || primary,
        primary,
        invisible: false,
        value_version: 1,
        readable_since: 0,
        building_job: None,
        unknown: Default::default(),
    }
}

/// What the handle is: an integer primary key itself, the encoded primary key, or a hidden row id.
fn cluster(table: &mut TableInfo, clustered: Option<bool>) {
    let Some(at) = table.indexes.iter().position(|index| index.primary) else {
        return;
    };
    for part in &table.indexes[at].columns {
        let flags = &mut table.columns[part.offset].field_type.flags;
        flags.set(FieldFlags::NOT_NULL | FieldFlags::PRI_KEY, true);
    }
    if clustered == Some(false) {
        return;
    }
    if let [only] = &table.indexes[at].columns[..]
        && table.columns[only.offset].field_type.is_integer()
    {
        table.indexes.remove(at);
        table.pk_is_handle = true;
    } else {
        table.is_common_handle = true;
        table.common_handle_version = 1;
    }
}

fn column(def: &ColumnDef, offset: usize, default: Collation) -> ColumnInfo {
    let mut field_type = field_type(&def.data_type, default);
    let flags = &mut field_type.flags;
    flags.set(FieldFlags::NOT_NULL, def.nullable == Some(false) || def.primary);
    flags.set(FieldFlags::AUTO_INCREMENT, def.auto_increment);
    flags.set(FieldFlags::ON_UPDATE_NOW, def.on_update.is_some());
    let (default, default_is_expr) = match &def.default {
        None => (None, false),
        Some(sql::Expr::Value(value)) => match &value.value {
            sql::Value::Null => (None, false),
            sql::Value::SingleQuotedString(text) | sql::Value::Number(text, _) => (Some(text.clone()), false),
            sql::Value::SingleQuotedByteStringLiteral(bits) => (Some(format!("b'{bits}'")), false),
            other => panic!("DEFAULT {other}"),
        },
        Some(expr) => (Some(expr.to_string()), true),
    };
    ColumnInfo {
        id: offset as i64 + 1,
        name: Name::new(&def.name),
        offset,
        field_type,
        state: SchemaState::Public,
        default,
        default_is_expr,
        origin_default: None,
        comment: String::new(),
        unknown: Default::default(),
    }
}

fn collation(charset: Option<&str>, name: Option<&str>, default: Collation) -> Collation {
    let by_name = |name| Collation::by_name(name).unwrap_or_else(|| panic!("collation {name}"));
    let charset =
        charset.map(|name| Charset::by_name(name).unwrap_or_else(|| panic!("character set {name}")));
    match name {
        Some(name) => by_name(name),
        None => charset.map_or(default, Charset::default_collation),
    }
}

fn field_type(said: &DataType, default: Collation) -> FieldType {
    use TypeName as T;
    let tp = match said.name {
        T::TinyInt | T::Bool => TypeCode::Tiny,
        T::SmallInt => TypeCode::Short,
        T::MediumInt => TypeCode::Int24,
        T::Int => TypeCode::Long,
        T::BigInt | T::Serial => TypeCode::LongLong,
        T::Float => TypeCode::Float,
        T::Double => TypeCode::Double,
        T::Decimal => TypeCode::NewDecimal,
        T::Bit => TypeCode::Bit,
        T::Date => TypeCode::Date,
        T::Time => TypeCode::Duration,
        T::DateTime => TypeCode::DateTime,
        T::Timestamp => TypeCode::Timestamp,
        T::Year => TypeCode::Year,
        T::Char | T::Binary => TypeCode::String,
        T::Varchar | T::Varbinary => TypeCode::Varchar,
        T::TinyText | T::TinyBlob => TypeCode::TinyBlob,
        T::Text | T::Blob => TypeCode::Blob,
        T::MediumText | T::MediumBlob => TypeCode::MediumBlob,
        T::LongText | T::LongBlob => TypeCode::LongBlob,
        T::Enum => TypeCode::Enum,
        T::Set => TypeCode::Set,
        T::Json => TypeCode::Json,
        T::Spatial => panic!("a spatial type"),
    };
    let mut ty = FieldType::new(tp);
    let bytes = matches!(
        said.name,
        T::Binary | T::Varbinary | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob
    );
    if bytes {
        ty.collation = Collation::BINARY;
    } else if ty.is_string() || matches!(tp, TypeCode::Enum | TypeCode::Set) {
        ty.collation = collation(said.charset.as_deref(), said.collate.as_deref(), default);
    }
    ty.flen = match tp {
        TypeCode::Tiny => 4,
        TypeCode::Short => 6,
        TypeCode::Int24 => 9,
        TypeCode::Long => 11,
        TypeCode::LongLong => 20,
        TypeCode::NewDecimal => said.length.map_or(10, |n| n as i32),
        _ => said.length.map_or(-1, |n| n as i32),
    };
    ty.decimal = match tp {
        TypeCode::NewDecimal => said.scale.unwrap_or(0) as i32,
        TypeCode::Duration | TypeCode::DateTime | TypeCode::Timestamp => said.length.unwrap_or(0) as i32,
        TypeCode::Float | TypeCode::Double => said.scale.map_or(-1, |n| n as i32),
        _ => 0,
    };
    ty.flags
        .set(FieldFlags::UNSIGNED, said.unsigned || said.name == T::Serial);
    ty.flags.set(FieldFlags::BLOB, ty.is_blob());
    if matches!(tp, TypeCode::Enum | TypeCode::Set) {
        ty.elems = Some(said.members.clone().into());
    }
    ty
}

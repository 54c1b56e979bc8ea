use ilmenite_base::ErrorClass;
use ilmenite_store::Error as StoreError;

use super::*;

#[tokio::test]
async fn what_is_written_is_read_back() {
    let t = TestStore::new();
    let schema = SchemaInfo {
        id: 10,
        name: Name::new("Shop"),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        state: SchemaState::Public,
        unknown: Default::default(),
    };
    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    meta.put_schema(&schema).unwrap();
    let mut orders = table(11, "Orders");
    orders.indexes[1].readable_since = 42;
    meta.put_table(10, &orders).unwrap();
    meta.put_auto_id(10, 11, 99).unwrap();
    assert_eq!(meta.read().tables(10).await.unwrap(), [orders.clone()]);
    txn.commit(CommitOptions::default()).await.unwrap();

    let ts = now(&t.store).await;
    let meta = MetaReader::at(&t.store, ts);
    assert_eq!(meta.schema(10).await.unwrap(), Some(schema.clone()));
    assert_eq!(meta.schemas().await.unwrap(), [schema]);
    assert_eq!(meta.table(10, 11).await.unwrap(), Some(orders.clone()));
    // The counter beside it is not taken for a table.
    assert_eq!(meta.tables(10).await.unwrap(), [orders.clone()]);
    assert_eq!(meta.tables(1).await.unwrap(), []);

    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    assert_eq!(meta.auto_id(10, 11).await.unwrap(), 99);
    meta.delete_table(10, 11).unwrap();
    meta.delete_schema(10).unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    let mut txn = begin(&t.store).await;
    let meta = Meta::new(&mut txn);
    assert_eq!(meta.auto_id(10, 11).await.unwrap(), 0);
    assert_eq!(meta.read().schemas().await.unwrap(), []);
    assert_eq!(meta.read().table(10, 11).await.unwrap(), None);
    // As it was then.
    assert_eq!(
        MetaReader::at(&t.store, ts).table(10, 11).await.unwrap(),
        Some(orders)
    );
}

#[tokio::test]
async fn json_has_tidbs_names() {
    let json = serde_json::to_value(table(11, "Orders")).unwrap();
    assert_eq!(json["name"], serde_json::json!({"O": "Orders", "L": "orders"}));
    assert_eq!(json["index_info"][0]["idx_name"]["L"], "i1");
    assert_eq!(json["index_info"][0]["state"], 5);
    assert_eq!(json["cols"][0]["type"]["Tp"], 8);
    // What TiDB writes, with lists that are null, is read.
    let diff: SchemaDiff = serde_json::from_str(
        r#"{"version":7,"type":7,"schema_id":1,"table_id":2,"old_table_id":0,"old_schema_id":0,
            "regenerate_schema_map":false,"affected_options":null}"#,
    )
    .unwrap();
    let expected = SchemaDiff {
        version: 7,
        ..of_table(7, 1, 2)
    };
    assert_eq!(diff, expected);
    // An index stored before it was known since when it can be read, and when strings were in entries twice.
    let mut old = serde_json::to_value(index(1, "i", 1)).unwrap();
    for field in ["ilmenite_readable_since", "ilmenite_value_version"] {
        old.as_object_mut().unwrap().remove(field).unwrap();
    }
    let old = serde_json::from_value::<IndexInfo>(old).unwrap();
    assert_eq!((old.readable_since, old.value_version), (0, 0));
}

#[tokio::test]
async fn bootstrap_happens_once() {
    let t = TestStore::new();
    let first = t.node("bootstrap-a").await;
    let names: Vec<_> = first.view().schemas().map(|s| s.name.original.clone()).collect();
    assert_eq!(names, ["mysql", "test"]);
    create_table(&first, "kept").await;
    let version = first.view().version();
    first.shutdown().await;
    drop(first);

    let second = t.node("bootstrap-b").await;
    assert_eq!(second.view().version(), version);
    assert!(second.view().table("TEST", "Kept").is_some());
}

#[tokio::test]
async fn global_ids_and_versions_are_never_given_twice() {
    let t = TestStore::new();
    let mut a = begin(&t.store).await;
    let mut b = begin(&t.store).await;
    let of_a = Meta::new(&mut a).alloc_global_ids(3).await.unwrap();
    let of_b = Meta::new(&mut b).alloc_global_ids(3).await.unwrap();
    assert_eq!((of_a, of_b), (1, 1));
    a.commit(CommitOptions::default()).await.unwrap();
    // The one that would give the same ids out again is refused.
    let refused = b.commit(CommitOptions::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::WriteConflict { .. }));
    assert_eq!(Error::from(refused).class(), ErrorClass::Transient);

    let mut a = begin(&t.store).await;
    let mut b = begin(&t.store).await;
    for txn in [&mut a, &mut b] {
        let mut meta = Meta::new(txn);
        assert_eq!(meta.bump_schema_version(of_schema(1, 1)).await.unwrap(), 1);
    }
    a.commit(CommitOptions::default()).await.unwrap();
    assert!(b.commit(CommitOptions::default()).await.is_err());
}

#[tokio::test]
async fn settings_reach_other_nodes() {
    let t = TestStore::new();
    let (a, b) = (t.node("settings-a").await, t.node("settings-b").await);
    let mut told = [a.settings_changed(), b.settings_changed()];
    let put = |name: &str, value: Option<&str>| {
        let value = value.map(|v| bytes::Bytes::copy_from_slice(v.as_bytes()));
        vec![(name.to_owned(), value)]
    };
    let one = put("autocommit", Some("OFF"));
    a.put_settings(Settings::Variables, one).await.unwrap();
    a.put_settings(Settings::Users, put("root@%", Some("{}")))
        .await
        .unwrap();
    for told in &mut told {
        tokio::time::timeout(Duration::from_secs(10), told.changed())
            .await
            .unwrap()
            .unwrap();
    }
    let value = b.setting(Settings::Variables, "autocommit").await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"OFF"[..]));
    assert_eq!(b.settings(Settings::Variables).await.unwrap().len(), 1);
    assert_eq!(b.setting(Settings::Users, "autocommit").await.unwrap(), None);
    a.put_settings(Settings::Variables, put("autocommit", None))
        .await
        .unwrap();
    assert_eq!(b.settings(Settings::Variables).await.unwrap(), []);
    assert_eq!(b.settings(Settings::Users).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_row_is_an_error_and_not_an_empty_result() {
    let t = TestStore::new();
    let mut txn = begin(&t.store).await;
    let version = ilmenite_codec::key::meta::string_key(b"SchemaVersionKey");
    let schema = ilmenite_codec::key::meta::hash_key(b"DBs", b"DB:5");
    for key in [schema, crate::meta::table_key(5, 6), version] {
        txn.put(key, "{", ilmenite_store::Check::None).unwrap();
    }
    txn.commit(CommitOptions::default()).await.unwrap();
    let meta = MetaReader::at(&t.store, now(&t.store).await);
    assert!(matches!(meta.schema(5).await, Err(Error::Damaged(_))));
    assert!(matches!(meta.tables(5).await, Err(Error::Damaged(_))));
    let error = meta.schema_version().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
}

#[tokio::test]
async fn what_this_program_does_not_know_survives_a_rewrite() {
    let t = TestStore::new();
    // What TiDB and later programs write beside our fields, at every level.
    let mut json = serde_json::to_value(table(11, "Orders")).unwrap();
    for place in ["", "/cols/0", "/index_info/1", "/index_info/1/idx_cols/0"] {
        let fields = json.pointer_mut(place).unwrap().as_object_mut().unwrap();
        fields.insert(
            "partition".into(),
            serde_json::json!({"num": 18446744073709551615u64}),
        );
        fields.insert("ratio".into(), serde_json::json!([0.25, null]));
    }
    let mut schema = serde_json::to_value(SchemaInfo {
        id: 10,
        name: Name::new("Shop"),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        state: SchemaState::Public,
        unknown: Default::default(),
    })
    .unwrap();
    schema["policy_ref_info"] = serde_json::json!({"ID": 7});

    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    let mut changed: TableInfo = serde_json::from_value(json.clone()).unwrap();
    changed.comment = "new".into();
    meta.put_table(10, &changed).unwrap();
    meta.put_schema(&serde_json::from_value(schema.clone()).unwrap())
        .unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    json["comment"] = "new".into();

    let ts = now(&t.store).await;
    let stored = |key: Vec<u8>| {
        let store = t.store.clone();
        async move { serde_json::from_slice::<serde_json::Value>(&store.get(&key, ts).await.unwrap().unwrap()) }
    };
    assert_eq!(stored(crate::meta::table_key(10, 11)).await.unwrap(), json);
    let reader = MetaReader::at(&t.store, ts);
    let read = reader.schema(10).await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), schema);
    assert_eq!(reader.table(10, 11).await.unwrap(), Some(changed));
}

#[test]
fn a_list_that_is_null_is_empty_and_so_is_one_that_is_absent() {
    let json = serde_json::to_value(table(11, "Orders")).unwrap();
    let null = serde_json::Value::Null;
    for absent in [false, true] {
        let mut json = json.clone();
        let clear = |json: &mut serde_json::Value, place: &str, name: &str| {
            let fields = json.pointer_mut(place).unwrap().as_object_mut().unwrap();
            match absent {
                true => fields.remove(name),
                false => fields.insert(name.into(), null.clone()),
            }
            .unwrap();
        };
        clear(&mut json, "/index_info/0", "idx_cols");
        clear(&mut json, "", "cols");
        let table: TableInfo = serde_json::from_value(json.clone()).unwrap();
        assert!(table.columns.is_empty() && table.indexes[0].columns.is_empty());
        clear(&mut json, "", "index_info");
        let table: TableInfo = serde_json::from_value(json).unwrap();
        assert!(table.indexes.is_empty());
        // As though they had been there: nothing of them is left among what is not known.
        assert!(table.unknown.is_empty());
    }
}

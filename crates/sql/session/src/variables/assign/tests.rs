use crate::context::SessionContext;
use crate::privilege::Grants;
use crate::testing::Node;
use crate::variables::{Isolation, Scope, SessionVars};
use ilmenite_error::Result;
use ilmenite_parser::{LexMode, Statement, parse_single};

async fn set(ctx: &mut SessionContext, text: &str) -> Result<()> {
    let parsed = parse_single(text.as_bytes(), LexMode::default())?;
    let Statement::Set(items) = parsed.statement else {
        panic!("{text} is no SET")
    };
    ctx.warnings.clear();
    super::run_set(ctx, &items, &[]).await.map(|_| ())
}

async fn code(ctx: &mut SessionContext, text: &str) -> u16 {
    match set(ctx, text).await {
        Err(e) => e.code,
        Ok(()) => panic!("{text} was accepted"),
    }
}

fn value(ctx: &SessionContext, name: &str) -> String {
    ctx.variable(name, Scope::Any).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_sets_its_own() {
    let node = Node::open().await;
    let mut ctx = node.session();
    set(
        &mut ctx,
        "SET autocommit = 0, sql_mode = 'ansi_quotes', @@session.time_zone = '+2:00', @x = 5",
    )
    .await
    .unwrap();
    assert!(!ctx.vars.autocommit);
    assert_eq!(value(&ctx, "sql_mode"), "ANSI_QUOTES");
    assert_eq!(value(&ctx, "time_zone"), "+02:00");
    assert_eq!(ctx.user_vars.get("x"), Some(&ilmenite_types::Datum::Int(5)));
    set(&mut ctx, "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci")
        .await
        .unwrap();
    assert_eq!(value(&ctx, "collation_connection"), "utf8mb4_general_ci");
    set(&mut ctx, "SET character_set_results = NULL").await.unwrap();
    assert_eq!(value(&ctx, "character_set_results"), "");
    set(&mut ctx, "SET collation_connection = latin1_bin")
        .await
        .unwrap();
    assert_eq!(value(&ctx, "character_set_connection"), "latin1");
    set(
        &mut ctx,
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    )
    .await
    .unwrap();
    assert_eq!(ctx.vars.isolation, Isolation::ReadCommitted);
    assert!(ctx.vars.transaction_read_only);
    set(&mut ctx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        .await
        .unwrap();
    assert_eq!(ctx.vars.isolation, Isolation::ReadCommitted);
    set(&mut ctx, "SET last_insert_id = 9").await.unwrap();
    assert_eq!(value(&ctx, "last_insert_id"), "9");
    set(&mut ctx, "SET time_zone = DEFAULT, sql_mode = DEFAULT")
        .await
        .unwrap();
    assert_eq!(value(&ctx, "time_zone"), "SYSTEM");
    set(&mut ctx, "SET tidb_ddl_reorg_batch_size = 1").await.unwrap();
    assert_eq!(value(&ctx, "tidb_ddl_reorg_batch_size"), "32");
    assert_eq!(ctx.warnings.kept()[0].code, 1292);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_set_has_its_number_and_nothing_is_set_with_it() {
    let node = Node::open().await;
    let mut ctx = node.session();
    for (text, expected) in [
        ("SET no_such = 1", 1193),
        ("SET version = 'x'", 1238),
        ("SET GLOBAL last_insert_id = 1", 1228),
        ("SET max_connections = 5", 1229),
        ("SET max_allowed_packet = 2048", 1238),
        ("SET autocommit = 7", 1231),
        ("SET sql_mode = 'NONSENSE'", 1231),
        ("SET time_zone = 'Nowhere/X'", 1298),
        ("SET NAMES nope", 1115),
        ("SET NAMES utf8mb4 COLLATE latin1_bin", 1253),
        ("SET GLOBAL tidb_ddl_reorg_worker_cnt = 'x'", 1232),
    ] {
        assert_eq!(code(&mut ctx, text).await, expected, "{text}");
    }
    assert_eq!(code(&mut ctx, "SET autocommit = 0, no_such = 1").await, 1193);
    assert!(
        ctx.vars.autocommit,
        "the first was set although the second is wrong"
    );
    let mut nobody = node.session_of(Grants::default());
    assert_eq!(code(&mut nobody, "SET GLOBAL max_connections = 5").await, 1227);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn global_values_are_stored_and_seen_by_sessions_that_begin_later() {
    let node = Node::open().await;
    let mut ctx = node.session();
    set(
        &mut ctx,
        "SET GLOBAL tidb_ddl_reorg_worker_cnt = 8, GLOBAL autocommit = OFF",
    )
    .await
    .unwrap();
    assert_eq!(value(&ctx, "tidb_ddl_reorg_worker_cnt"), "4");
    assert!(!SessionVars::new(&node.engine.globals).autocommit);
    let stored = node
        .engine
        .catalog
        .settings(ilmenite_catalog::Settings::Variables)
        .await
        .unwrap();
    assert!(
        stored
            .iter()
            .any(|(name, value)| name == "tidb_ddl_reorg_worker_cnt" && &value[..] == b"8")
    );
    set(&mut ctx, "SET GLOBAL autocommit = DEFAULT").await.unwrap();
    assert!(SessionVars::new(&node.engine.globals).autocommit);
    set(&mut ctx, "SET GLOBAL tidb_service_scope = 'Background'")
        .await
        .unwrap();
    assert_eq!(node.engine.catalog.service_scope(), "background");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_uri_is_tried_first_and_its_secrets_stay_hidden() {
    let node = Node::open().await;
    let mut ctx = node.session();
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", directory.path().display());
    set(&mut ctx, &format!("SET GLOBAL tidb_cloud_storage_uri = '{uri}'"))
        .await
        .unwrap();
    assert_eq!(&*node.engine.globals.get("tidb_cloud_storage_uri"), uri);
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "the probe left something behind"
    );

    let bad = "SET GLOBAL tidb_cloud_storage_uri = 'nope://bucket/x?secret-access-key=hush'";
    let error = set(&mut ctx, bad).await.unwrap_err();
    assert!(error.code == 1231 && !error.message.contains("hush"), "{error}");
    assert_eq!(
        &*node.engine.globals.get("tidb_cloud_storage_uri"),
        uri,
        "a refused URI took effect"
    );

    let (at, _) = crate::variables::find("tidb_cloud_storage_uri").unwrap();
    node.engine
        .globals
        .set_local(at, "s3://b/p?access-key=AKIA&secret-access-key=hush");
    let shown = ctx.variable("tidb_cloud_storage_uri", Scope::Global).unwrap();
    assert!(
        shown.starts_with("s3://b/p") && !shown.contains("hush"),
        "{shown}"
    );
    set(&mut ctx, "SET GLOBAL tidb_cloud_storage_uri = ''")
        .await
        .unwrap();
    node.stop().await;
}

use crate::context::SessionContext;
use crate::privilege::Grants;
use crate::testing::Node;
use ilmenite_error::Result;
use ilmenite_parser::{LexMode, Statement, parse_single};

async fn run(ctx: &mut SessionContext, text: &str) -> Result<()> {
    let parsed = parse_single(text.as_bytes(), LexMode::default())?;
    let Statement::Account(statement) = parsed.statement else {
        panic!("{text} is not about accounts")
    };
    ctx.warnings.clear();
    super::run_account(ctx, &statement).await.map(|_| ())
}

async fn code(ctx: &mut SessionContext, text: &str) -> u16 {
    match run(ctx, text).await {
        Err(e) => e.code,
        Ok(()) => panic!("{text} was accepted"),
    }
}

fn grants(ctx: &SessionContext, user: &str) -> Vec<String> {
    let account = ctx.engine.find_account(user, "%").unwrap();
    account.grants.statements(user, "%")
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_come_change_and_go() {
    let node = Node::open().await;
    let mut ctx = node.session();
    run(
        &mut ctx,
        "CREATE USER u IDENTIFIED BY 'p', v IDENTIFIED WITH mysql_native_password BY 'q' ACCOUNT LOCK",
    )
    .await
    .unwrap();
    assert_eq!(
        ctx.engine.find_account("u", "%").unwrap().credential.plugin(),
        "caching_sha2_password"
    );
    let v = ctx.engine.find_account("v", "%").unwrap();
    assert!(v.locked && v.credential.text().starts_with('*'));
    assert_eq!(code(&mut ctx, "CREATE USER w, u").await, 1396);
    assert!(
        ctx.engine.find_account("w", "%").is_none(),
        "a statement that failed made an account"
    );
    run(&mut ctx, "CREATE USER IF NOT EXISTS u").await.unwrap();
    assert_eq!(ctx.warnings.kept()[0].code, 3163);
    run(&mut ctx, "ALTER USER v ACCOUNT UNLOCK").await.unwrap();
    assert!(!ctx.engine.find_account("v", "%").unwrap().locked);

    // The hash as it is shown makes the same account elsewhere.
    for user in ["u", "v"] {
        let shown = ctx.engine.find_account(user, "%").unwrap().credential;
        let made = format!(
            "CREATE USER {user}2 IDENTIFIED WITH {} AS '{}'",
            shown.plugin(),
            shown.text()
        );
        run(&mut ctx, &made).await.unwrap();
        assert_eq!(
            ctx.engine
                .find_account(&format!("{user}2"), "%")
                .unwrap()
                .credential,
            shown
        );
    }
    assert_eq!(
        code(
            &mut ctx,
            "CREATE USER x IDENTIFIED WITH mysql_native_password AS 'x'"
        )
        .await,
        1827
    );
    assert_eq!(
        code(&mut ctx, "CREATE USER x IDENTIFIED WITH nope BY 'x'").await,
        1524
    );
    run(&mut ctx, "RENAME USER u2 TO u3").await.unwrap();
    assert!(ctx.engine.find_account("u3", "%").is_some() && ctx.engine.find_account("u2", "%").is_none());
    run(&mut ctx, "DROP USER u3, v2").await.unwrap();
    assert_eq!(code(&mut ctx, "DROP USER u3").await, 1396);
    run(&mut ctx, "DROP USER IF EXISTS u3").await.unwrap();
    assert_eq!(ctx.warnings.kept()[0].code, 3162);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_granted_and_taken_back_by_level() {
    let node = Node::open().await;
    let mut ctx = node.session();
    run(&mut ctx, "CREATE USER u").await.unwrap();
    run(&mut ctx, "GRANT SELECT, INSERT ON test.* TO u WITH GRANT OPTION")
        .await
        .unwrap();
    run(&mut ctx, "GRANT CREATE, SELECT ON test.t TO u")
        .await
        .unwrap();
    run(&mut ctx, "GRANT PROCESS ON *.* TO u").await.unwrap();
    assert_eq!(
        grants(&ctx, "u"),
        [
            "GRANT PROCESS ON *.* TO `u`@`%`",
            "GRANT SELECT, INSERT ON `test`.* TO `u`@`%` WITH GRANT OPTION",
            "GRANT SELECT, CREATE ON `test`.`t` TO `u`@`%`"
        ]
    );
    for (text, expected) in [
        ("GRANT SELECT ON test.* TO nobody", 1410),
        ("GRANT SELECT ON test.nope TO u", 1146),
        ("GRANT PROCESS ON test.* TO u", 1221),
        ("GRANT PROCESS ON test.t TO u", 1144),
        ("GRANT NONSENSE ON *.* TO u", 3929),
        ("REVOKE SELECT ON other.* FROM u", 1141),
        ("REVOKE SELECT ON test.nope FROM u", 1147),
    ] {
        assert_eq!(code(&mut ctx, text).await, expected, "{text}");
    }
    run(&mut ctx, "REVOKE CREATE, SELECT ON test.t FROM u")
        .await
        .unwrap();
    assert_eq!(grants(&ctx, "u").len(), 2);
    run(&mut ctx, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM u")
        .await
        .unwrap();
    assert_eq!(grants(&ctx, "u"), ["GRANT USAGE ON *.* TO `u`@`%`"]);

    let mut nobody = node.session_of(Grants::default());
    assert_eq!(code(&mut nobody, "CREATE USER x").await, 1227);
    assert_eq!(code(&mut nobody, "GRANT SELECT ON *.* TO u").await, 1045);
    assert_eq!(code(&mut nobody, "GRANT SELECT ON test.* TO u").await, 1044);
    node.stop().await;
}

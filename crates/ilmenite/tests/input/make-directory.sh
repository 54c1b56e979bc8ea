#!/bin/sh
# Makes a data directory for `upgrade.rs`: make-directory.sh PROGRAM ARCHIVE
# Rows under several indexes, users, variables, finished jobs, and an ADD INDEX that is paused in the middle of its build.
# Needs mysql, tar and zstd.
set -eu
program=$1 archive=$2
dir=$(mktemp -d)
port=4963
"$program" server --store "$dir/data" --port $port --status-port 0 2>"$dir/log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
sql() { mysql --host 127.0.0.1 --port $port --user root --batch --skip-column-names "$@"; }
until sql -e 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done

sql test <<'SQL'
CREATE TABLE orders (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    customer INT NOT NULL,
    note VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    city VARCHAR(40) COLLATE utf8mb4_general_ci,
    price DECIMAL(12, 2) DEFAULT '1.50',
    placed DATETIME(3),
    tags JSON,
    UNIQUE KEY by_customer (customer, id),
    KEY by_city (city)
);
INSERT INTO orders (customer, note, city, price, placed, tags) VALUES
    (7, CONCAT(REPEAT('gift ', 40), '1'), 'Oslo', 12.25, '2026-11-30 12:34:56.789', '{"a": [1, null]}'),
    (8, CONCAT(REPEAT('gift ', 40), '2'), 'OSLO', DEFAULT, NULL, NULL),
    (9, CONCAT(REPEAT('gift ', 40), '3'), NULL, 0.01, '1999-12-31 23:59:59.999', '[]');
SQL
# Doubled to 3,072 rows: their notes are more than one batch of the ingest, and pack well.
rows=3
while [ $rows -lt 3072 ]; do
    sql test -e "INSERT INTO orders (customer, note, city, price, placed, tags)
        SELECT customer + $rows, CONCAT(REPEAT('gift ', 40), customer + $rows), city, price, placed, tags FROM orders"
    rows=$((rows * 2))
done
sql test <<'SQL'
ALTER TABLE orders ADD INDEX by_price (price, placed), ADD COLUMN paid BOOL NOT NULL DEFAULT FALSE;
UPDATE orders SET paid = TRUE WHERE id % 3 = 0;
DELETE FROM orders WHERE id % 100 = 99;
CREATE TABLE gone (id INT PRIMARY KEY);
DROP TABLE gone;
CREATE TABLE named (code VARCHAR(20) PRIMARY KEY, n INT, UNIQUE KEY (n));
INSERT INTO named VALUES ('one', 1), ('two', 2), ('three', 3);
CREATE USER 'reader'@'%' IDENTIFIED BY 'let me in';
GRANT SELECT ON test.* TO 'reader'@'%';
SET GLOBAL tidb_ddl_reorg_worker_cnt = 3;
SET GLOBAL ilmenite_slow_statement_ms = 1234;
SET GLOBAL tidb_ddl_reorg_max_write_speed = 1;
SQL
# The first batch goes at once, the second never at this speed.
sql test -e 'ALTER TABLE orders ADD UNIQUE INDEX by_note (note)' >/dev/null 2>&1 &
job() { sql -e "SELECT JOB_ID FROM information_schema.ddl_jobs WHERE QUERY LIKE '%by_note%' LIMIT 1"; }
until [ -n "$(job)" ]; do sleep 0.2; done
until sql -e 'ADMIN SHOW DDL JOBS 1' | grep -q 'write reorganization'; do sleep 0.2; done
sleep 3
sql -e "ADMIN PAUSE DDL JOBS $(job)"
until sql -e 'ADMIN SHOW DDL JOBS 1' | grep -q paused; do sleep 0.2; done
# While it is paused, what it has read changes.
sql test -e "UPDATE orders SET note = CONCAT(note, ' changed') WHERE id % 50 = 0"
sql -e 'ADMIN SHOW DDL JOBS 9'
kill -TERM $server
wait $server
tar -C "$dir" --sort=name --owner=0 --group=0 -cf - data | zstd -19 --long=27 -f -o "$archive"

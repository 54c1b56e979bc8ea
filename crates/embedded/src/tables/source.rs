//! The entries of tables one after another, read where they lie in their blocks: the engine's iterator makes values of
//! their own of them, which costs more than all else about a scan.

use std::collections::VecDeque;
use std::fs::File;

use lsm_tree::table::block::BlockType;
use lsm_tree::table::util::SliceIndexes;
use lsm_tree::table::{Block, BlockHandle, DataBlock, GlobalTableId, IndexBlock};
use lsm_tree::{CompressionType, Memtable, Result, SeqNo, Slice, Table, TreeId};

/// Entries in the order of their keys, of each key the newest below a sequence number.
pub(crate) struct Source {
    seqno: SeqNo,
    /// What is still to be loaded; `None` of a memtable.
    blocks: Option<Blocks>,
    /// The bytes of the block that is read, and its entries.
    data: Slice,
    items: Vec<Item>,
    /// The next of them.
    next: usize,
    /// The head: its key, and where its value is.
    key: Vec<u8>,
    head: Head,
    ended: bool,
}

#[derive(Default)]
struct Head {
    seqno: SeqNo,
    value: (usize, usize),
    tombstone: bool,
}

struct Item {
    prefix: (usize, usize),
    rest: (usize, usize),
    head: Head,
}

impl Source {
    /// What tables that do not overlap have behind `from`. `None`: nothing.
    pub(super) fn of_tables(
        tables: &[Table],
        tree: TreeId,
        from: &[u8],
        seqno: SeqNo,
    ) -> Result<Option<Source>> {
        debug_assert!(
            tables.is_sorted_by(|a, b| a.metadata.key_range.max() < b.metadata.key_range.min()),
            "tables of one run follow each other"
        );
        let first = tables.partition_point(|table| **table.metadata.key_range.max() <= *from);
        let blocks = Blocks {
            tree,
            tables: tables[first..].iter().cloned().collect(),
            behind: Some(from.to_vec()),
            table: None,
        };
        Source::new(Some(blocks), Slice::empty(), Vec::new(), from, seqno)
    }

    /// What a memtable has behind `from`, copied, as it changes all the time.
    pub(super) fn of_memtable(memtable: &Memtable, from: &[u8], seqno: SeqNo) -> Result<Option<Source>> {
        let mut data = Vec::new();
        let mut items = Vec::new();
        let recent = memtable.iter().skip_while(|e| e.key.user_key <= from);
        for entry in recent.filter(|e| e.key.seqno < seqno) {
            let start = data.len();
            data.extend_from_slice(&entry.key.user_key);
            let mid = data.len();
            data.extend_from_slice(&entry.value);
            items.push(Item {
                prefix: (0, 0),
                rest: (start, mid),
                head: Head {
                    seqno: entry.key.seqno,
                    value: (mid, data.len()),
                    tombstone: entry.is_tombstone(),
                },
            });
        }
        Source::new(None, data.into(), items, from, seqno)
    }

    fn new(
        blocks: Option<Blocks>,
        data: Slice,
        items: Vec<Item>,
        from: &[u8],
        seqno: SeqNo,
    ) -> Result<Option<Source>> {
        let mut source = Source {
            seqno,
            blocks,
            data,
            items,
            next: 0,
            key: Vec::new(),
            head: Head::default(),
            ended: false,
        };
        // The first block begins before what is wanted.
        while source.advance()? {
            if source.key[..] > *from {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn seqno(&self) -> SeqNo {
        self.head.seqno
    }

    pub(super) fn value(&self) -> &[u8] {
        let (start, end) = self.head.value;
        &self.data[start..end]
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.head.tombstone
    }

    /// Has `advance` found nothing? Then there is no head.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Goes on to the next key. `false`: there is none.
    pub(super) fn advance(&mut self) -> Result<bool> {
        loop {
            while self.next >= self.items.len() {
                match self.blocks.as_mut().map(Blocks::next).transpose()?.flatten() {
                    Some((block, base)) => self.load(block, base),
                    None => {
                        self.ended = true;
                        return Ok(false);
                    }
                }
            }
            let item = &self.items[self.next];
            let prefix = &self.data[item.prefix.0..item.prefix.1];
            let rest = &self.data[item.rest.0..item.rest.1];
            self.next += 1;
            let visible = item.head.seqno < self.seqno;
            if visible && !is_joined(&self.key, prefix, rest) {
                debug_assert!(*self.key < *[prefix, rest].concat(), "keys of a source ascend");
                self.key.clear();
                self.key.extend_from_slice(prefix);
                self.key.extend_from_slice(rest);
                self.head = Head { ..item.head };
                return Ok(true);
            }
        }
    }

    /// `base`: what is to be added to the entries' sequence numbers.
    fn load(&mut self, block: DataBlock, base: SeqNo) {
        let of = |at: &SliceIndexes| (at.0, at.1);
        self.items.clear();
        self.items.extend(block.iter().map(|item| Item {
            prefix: item.prefix.as_ref().map_or((0, 0), of),
            rest: of(&item.key),
            head: Head {
                seqno: item.seqno + base,
                value: item.value.as_ref().map_or((0, 0), of),
                tombstone: item.value_type.is_tombstone(),
            },
        }));
        self.data = block.inner.data;
        self.next = 0;
    }
}

/// Is `key` the two parts one behind the other?
fn is_joined(key: &[u8], prefix: &[u8], rest: &[u8]) -> bool {
    // Neighbours mostly differ where the second begins: seen without a call.
    key.len() == prefix.len() + rest.len()
        && key.get(prefix.len()) == rest.first()
        && key.ends_with(rest)
        && key.starts_with(prefix)
}

/// The blocks of tables.
struct Blocks {
    tree: TreeId,
    tables: VecDeque<Table>,
    /// Blocks are skipped whose keys are all up to this, until one is not.
    behind: Option<Vec<u8>>,
    table: Option<OpenTable>,
}

struct OpenTable {
    table: Table,
    id: GlobalTableId,
    file: File,
    /// Of a table with an index in two levels: the blocks of the second.
    index: std::vec::IntoIter<BlockHandle>,
    data: std::vec::IntoIter<BlockHandle>,
}

impl Blocks {
    /// The next block, and what is to be added to its sequence numbers.
    fn next(&mut self) -> Result<Option<(DataBlock, SeqNo)>> {
        loop {
            let Some(open) = &mut self.table else {
                let Some(table) = self.tables.pop_front() else {
                    return Ok(None);
                };
                self.table = Some(OpenTable::new(table, self.tree, self.behind.as_deref())?);
                continue;
            };
            if let Some(handle) = open.data.next() {
                self.behind = None;
                let block = open.block(handle)?;
                return Ok(Some((DataBlock::new(block), open.table.global_seqno())));
            }
            if let Some(handle) = open.index.next() {
                open.data = open.handles(handle, self.behind.as_deref())?.into_iter();
                continue;
            }
            self.table = None;
        }
    }
}

impl OpenTable {
    fn new(table: Table, tree: TreeId, behind: Option<&[u8]>) -> Result<OpenTable> {
        let mut open = OpenTable {
            id: (tree, table.metadata.id).into(),
            file: File::open(&*table.path)?,
            table,
            index: Vec::new().into_iter(),
            data: Vec::new().into_iter(),
        };
        let handles = open.handles(open.table.regions.tli, behind)?.into_iter();
        match open.table.regions.index {
            Some(_) => open.index = handles,
            None => open.data = handles,
        }
        Ok(open)
    }

    /// What an index block points to, without the blocks that end at `behind` or before.
    fn handles(&self, at: BlockHandle, behind: Option<&[u8]>) -> Result<Vec<BlockHandle>> {
        let block = self.read(at, BlockType::Index, self.table.metadata.index_block_compression)?;
        let block = IndexBlock::new(block);
        let bytes = block.as_slice();
        let part = |at: &SliceIndexes| &bytes[at.0..at.1];
        let mut handles = Vec::with_capacity(block.len());
        let mut skipping = behind;
        for item in block.iter() {
            let prefix = item.prefix.as_ref().map(part).unwrap_or_default();
            skipping = skipping.filter(|behind| *[prefix, part(&item.end_key)].concat() <= **behind);
            if skipping.is_none() {
                handles.push(BlockHandle::new(item.offset, item.size));
            }
        }
        Ok(handles)
    }

    /// A block of entries, from the engine's cache if it is there. Others go there while there is room: a scan must not
    /// drive out what is read again and again.
    fn block(&self, handle: BlockHandle) -> Result<Block> {
        let cache = &self.table.cache;
        if let Some(block) = cache.get_block(self.id, handle.offset()) {
            return Ok(block);
        }
        let block = self.read(
            handle,
            BlockType::Data,
            self.table.metadata.data_block_compression,
        )?;
        if cache.size() + u64::from(handle.size()) < cache.capacity() / 8 * 7 {
            cache.insert_block(self.id, handle.offset(), block.clone());
        }
        Ok(block)
    }

    fn read(&self, at: BlockHandle, of: BlockType, compression: CompressionType) -> Result<Block> {
        let block = Block::from_file(&self.file, at, compression)?;
        if block.header.block_type == of {
            Ok(block)
        } else {
            Err(lsm_tree::Error::InvalidTag((
                "BlockType",
                block.header.block_type.into(),
            )))
        }
    }
}

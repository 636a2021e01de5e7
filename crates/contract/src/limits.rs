//! Every limit, named with its unit. A number that bounds something lives here or in a spec.

/// A wall clock this far behind the newest event was set back: moments computed before are not waited for. Milliseconds.
pub const CLOCK_BACK_MS: u64 = 60_000;
/// Intents a session's mailbox and its queue hold before it answers busy.
pub const MAILBOX_INTENTS: usize = 256;
/// Places in an inbox beyond that which only a cancel may take: a flood never keeps a stop out.
pub const MAILBOX_RESERVED: usize = 16;
/// Lease time of a session, milliseconds. A holder renews at a third of it.
pub const LEASE_MS: u64 = 10_000;
/// How often the inbox is polled when no wake-up came, milliseconds.
pub const INBOX_POLL_MS: u64 = 50;
/// The same while nothing happens, milliseconds: an answer from another terminal is not noticed to wait.
pub const INBOX_POLL_MOST_MS: u64 = 200;
/// Deepest level of child sessions; the root is 0.
pub const DEPTH: u32 = 5;
/// Children one session may open in its life.
pub const CHILDREN: u32 = 20;
/// Actions in one turn.
pub const STEPS_PER_TURN: u32 = 100;
/// Actions in one session when the spec says nothing.
pub const STEPS_PER_SESSION: u64 = 1_000;
/// Steps a session takes from its tree's budget at once.
pub const STEP_BLOCK: u64 = 16;
/// Backward edges a workflow may take before the session ends as it is (feedback rounds).
pub const ROUNDS: u32 = 3;
/// Failures of the same signature that stop the retrying.
pub const SAME_FAILURES: u32 = 3;
/// Tokens the planner may spend on working around one failure.
pub const WORKAROUND_TOKENS: u64 = 10_000;
/// An approval nobody answered is denied after this long, milliseconds (7 days).
pub const APPROVAL_MS: u64 = 7 * 24 * 3600 * 1000;
/// Longest time that all hooks of one event may take together, milliseconds.
pub const HOOKS_MS: u64 = 30 * 60 * 1000;
/// Longest time one hook may take, milliseconds.
pub const HOOK_MAX_MS: u64 = 10 * 60 * 1000;
/// Longest time one hook may take where its declaration says nothing, milliseconds.
pub const HOOK_MS: u64 = 60 * 1000;
/// Hooks a session may have.
pub const HOOKS: usize = 64;
/// Bytes of one hook's command.
pub const HOOK_BYTES: usize = 4 * 1024;
/// Times in a row that hooks may keep an agent at work which wants to yield.
pub const HOOK_KEEPS: u32 = 8;
/// A waiting intent gains one class per this many milliseconds (ageing).
pub const AGEING_MS: u64 = 30_000;
/// Bytes a notice takes in a request at most, once worded.
pub const NOTICE_BYTES: u64 = 16 * 1024;
/// Tokens of instructions and tool descriptions allowed for in a reservation.
pub const PROMPT_TOKENS: u64 = 8_000;
/// Tokens allowed for in a reservation per message that a provider has not counted yet: what wraps its text.
pub const ITEM_TOKENS: u64 = 32;
/// Tokens allowed for in a reservation per picture at least.
pub const IMAGE_TOKENS: u64 = 5_000;
/// The shortest reply worth asking for when the budget does not suffice for the longest, tokens.
pub const REPLY_TOKENS: u64 = 1_024;
/// Share of a budget after which a person is warned, per cent.
pub const BUDGET_WARN_PERCENT: u64 = 80;
/// Bytes allowed for in a reservation per call that was refused before it ran: the words of the refusal.
pub const REFUSAL_BYTES: u64 = 2 * 1024;
/// Bytes allowed for in a reservation per token that a model has said, calls included.
pub const BYTES_PER_TOKEN: u64 = 4;
/// Bytes that one token stands for at most, on average over a conversation: a provider that counts fewer is not believed.
pub const TOKEN_BYTES_MOST: u64 = 16;
/// Hashes of the beginnings of a conversation that are kept on record with each model call.
pub const SHOWN_CHAIN: u64 = 32;
/// Items of conversation kept in a session's context; older ones are cut, recorded as an event.
pub const CONTEXT_ITEMS: usize = 400;
/// Tokens kept free for a reply at least, unless the context is smaller than four times that (spec S1.1-4).
pub const REPLY_ROOM_TOKENS: u64 = 4_096;
/// Tokens per thousand bytes taken for granted before a model's own usage tells: three bytes a token.
pub const TOKENS_PER_KB: u64 = 333;
/// Tokens that a message takes beside its text.
pub const MESSAGE_TOKENS: u64 = 6;
/// Tokens a picture is taken to have whose size in pixels is not known.
pub const PICTURE_TOKENS: u64 = 1_600;
/// Tokens of the line that stands in the place of a result: its words and its address.
pub const LEFT_TOKENS: u64 = 112;
/// Bytes of that line at most.
pub const LEFT_BYTES: u64 = 256;
/// Share of the cap that is left after a cut, percent: rarely and deep, so that the beginning stays as it is.
pub const CUT_TO_PERCENT: u64 = 60;
/// Share that is left when a provider says that the conversation is too long, percent (spec S1.1-4).
pub const REFUSED_TO_PERCENT: u64 = 75;
/// Newest exchanges whose outputs are not counted as old.
pub const FRESH_EXCHANGES: usize = 4;
/// Calls that a summary lists.
pub const SUMMARY_ACTS: usize = 40;
/// Tokens that a model may take to word what is taken out of a conversation.
pub const SUMMARY_REPLY_TOKENS: u64 = 2_048;
/// Bytes of that wording that are kept.
pub const SUMMARY_TEXT_BYTES: u64 = 8 * 1024;
/// Bytes of one entry that a model is shown to word it.
pub const SUMMARY_ENTRY_BYTES: u64 = 4 * 1024;
/// Failures to word it after which the conversation is cut without.
pub const SUMMARY_FAILURES: u32 = 3;
/// Bytes of a summary's head, and of each line in it.
pub const SUMMARY_LINE_BYTES: u64 = 288;
/// Entries out of the conversation that a session remembers for `uncompact`; older ones are in the journal.
pub const EVICTED_ITEMS: usize = 500;
/// Models whose token sizes a session remembers.
pub const GAUGES: usize = 16;
/// Savepoints a session's state remembers; older ones stay reachable through the workspace's refs.
pub const SAVEPOINTS: usize = 200;
/// Entries of an agent's own list of what is to be done.
pub const TODO_ITEMS: usize = 100;
/// Tools shown from the start; with more, those that are not the core are found when they are needed.
pub const TOOLS_SHOWN: usize = 12;
/// Bytes of tools' descriptions and schemas shown from the start; likewise.
pub const TOOLS_SHOWN_BYTES: usize = 16 * 1024;
/// Tools one search gives.
pub const TOOLS_PER_SEARCH: usize = 8;
/// Tools found in a session beyond those shown from the start.
pub const TOOLS_FOUND: usize = 64;
/// Tasks in a plan.
pub const PLAN_TASKS: usize = 200;
/// Tool calls in one model message.
pub const CALLS_PER_MESSAGE: usize = 64;
/// Tool calls of one model message that are put on record at all; those beyond `CALLS_PER_MESSAGE` as errors.
pub const CALLS_RECORDED: usize = 256;
/// Pure tool calls of one batch that run at the same time.
pub const CALLS_AT_ONCE: usize = 8;
/// Calls that run as one process (S2.6-2).
pub const CALLS_TOGETHER: usize = 50;
/// How long the first of them waits for the others, milliseconds.
pub const CALLS_TOGETHER_MS: u64 = 100;
/// A model call's deadline, milliseconds.
pub const MODEL_MS: u64 = 10 * 60 * 1000;
/// A tool call's default deadline, milliseconds.
pub const TOOL_MS: u64 = 60 * 1000;
/// The longest deadline a tool call may ask for, milliseconds.
pub const TOOL_MAX_MS: u64 = 30 * 60 * 1000;
/// What a line of output that says something buys a command at least, milliseconds (S2.1-4).
pub const TOOL_EXTEND_MS: u64 = 30 * 1000;
/// How long a silent command must be seen blocked on input, by kernel evidence, before it is ended, milliseconds.
pub const INPUT_WAIT_MS: u64 = 2_000;
/// Between two looks at whether a silent command waits for input, milliseconds.
pub const INPUT_LOOK_MS: u64 = 500;
/// Columns and rows of a terminal that nobody looks at yet.
pub const TERMINAL_COLUMNS: u16 = 120;
/// Rows of it.
pub const TERMINAL_ROWS: u16 = 40;
/// Memory in use from which nothing begins any more when nobody says otherwise, percent.
pub const PAUSE_MEMORY_PERCENT: u64 = 95;
/// Disk left free below which nothing begins any more when nobody says otherwise, bytes.
pub const PAUSE_DISK_BYTES: u64 = 200 * 1024 * 1024;
/// Bytes a session's directory may hold when nobody says otherwise (S1.5-3).
pub const SESSION_DISK_BYTES: u64 = 20 * 1024 * 1024 * 1024;
/// How far a reading must be below a level to leave it, permille (S1.5-4).
pub const PRESSURE_HYSTERESIS_PERMILLE: u64 = 100;
/// How long, milliseconds.
pub const PRESSURE_CALM_MS: u64 = 3_000;
/// Between two readings, milliseconds.
pub const PRESSURE_LOOK_MS: u64 = 1_000;
/// Share of files, connections and processes kept for what a person waits for, percent (S1.5-2).
pub const POOL_KEPT_PERCENT: u64 = 20;
/// Connections to elsewhere at once.
pub const POOL_NET: u64 = 50;
/// Commands running at once, on a machine however small.
pub const POOL_PROCESSES: u64 = 8;
/// Background commands and terminals one session may have at once.
pub const JOBS: usize = 8;
/// How long one may run, milliseconds.
pub const JOB_MS: u64 = 4 * 3600 * 1000;
/// How often one writes down that it lives, milliseconds.
pub const JOB_BEAT_MS: u64 = 5_000;
/// Bytes of one file of it.
pub const JOB_SEGMENT_BYTES: u64 = 1024 * 1024;
/// Who may look at one at the same time.
pub const JOB_CLIENTS: usize = 16;
/// Longest a call may wait for a background command, milliseconds.
pub const JOB_WAIT_MS: u64 = 50_000;
/// Deadline of a whole check run on both trees, milliseconds.
pub const CHECK_MS: u64 = 60 * 60 * 1000;
/// One check or set-up command that says nothing else, milliseconds.
pub const CHECK_ONE_MS: u64 = 10 * 60 * 1000;
/// Deadline of a workspace action (prepare, integrate, rewind), milliseconds.
pub const WORKSPACE_MS: u64 = 10 * 60 * 1000;
/// How long past its deadline an action may stay silent before it is given up, milliseconds.
pub const OVERDUE_MS: u64 = 15_000;
/// Bytes of one file that a command writes.
pub const COMMAND_FILE_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes of the head of a request to the proxy of a command.
pub const GATE_HEAD_BYTES: usize = 64 * 1024;
/// How long a program may take to say what it wants of that proxy, milliseconds.
pub const GATE_HEAD_MS: u64 = 30_000;
/// How long a host may take to be found, and to answer, milliseconds.
pub const GATE_CONNECT_MS: u64 = 10_000;
/// Connections of one command through it at once.
pub const GATE_CALLS: usize = 128;
/// Hosts of one command that are kept for the record, one by one.
pub const GATE_ASKED: usize = 32;

/// How long an action told to stop at once may stay silent before it is dropped, milliseconds.
pub const STOP_NOW_MS: u64 = 2_000;
/// Stop ladder: wait after INT, then after TERM, milliseconds.
pub const STOP_INT_MS: u64 = 5_000;
/// Stop ladder: wait after TERM before KILL, milliseconds.
pub const STOP_TERM_MS: u64 = 3_000;
/// How long killed processes may take to be gone before they are reported as left, milliseconds.
pub const STOP_KILL_MS: u64 = 2_000;
/// How long output is still read once everything a command started is gone, milliseconds.
pub const OUTPUT_DRAIN_MS: u64 = 500;
/// Longest line passed on as progress, bytes; the rest of it is only kept.
pub const PROGRESS_LINE_BYTES: usize = 4 * 1024;
/// Lines passed on as progress out of one read of a command's output; the rest is only kept.
pub const PROGRESS_LINES: usize = 64;
/// Bytes of a tool's output shown to a model; the whole goes to a blob.
pub const OUTPUT_VIEW_BYTES: usize = 16 * 1024;
/// Bytes of one failed check's log, from its end, that Kapell shows to a model.
pub const LOG_TAIL_BYTES: usize = 4 * 1024;
/// Bytes of a command's output kept where there is no disk for it, and of its end beyond what is kept there.
pub const OUTPUT_KEEP_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a command's output kept on disk when nobody says otherwise; beyond it its beginning and its end, or the newest
/// of one in the background.
pub const OUTPUT_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of a command's output held in memory before they go to disk.
pub const OUTPUT_MEMORY_BYTES: usize = 1024 * 1024;
/// Bytes of output written between two looks at how much room the disk has.
pub const OUTPUT_LOOK_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a file the read tool returns at once.
pub const READ_BYTES: usize = 64 * 1024;
/// Longest command line of the shell tool, bytes; the kernel takes 128 KiB for one argument.
pub const COMMAND_BYTES: usize = 120 * 1024;
/// Largest picture the read tool shows, bytes: providers take 5 MB once encoded in base64.
pub const IMAGE_BYTES: u64 = 3_750_000;
/// Lines of a file the read tool returns at once.
pub const READ_LINES: u64 = 2_000;
/// Bytes of one line the read tool shows.
pub const READ_LINE_BYTES: usize = 2_000;
/// Entries the list tool returns.
pub const LIST_ENTRIES: usize = 1_000;
/// Matching lines the search tool returns.
pub const SEARCH_MATCHES: usize = 200;
/// Bytes of one line the search tool shows.
pub const SEARCH_LINE_BYTES: usize = 400;
/// Memory a search pattern may compile to, bytes.
pub const SEARCH_PATTERN_BYTES: usize = 10 * 1024 * 1024;
/// Largest file the edit and write tools touch, bytes.
pub const EDIT_BYTES: usize = 16 * 1024 * 1024;
/// Files that one call changes.
pub const CHANGE_FILES: usize = 256;
/// Files the glob tool returns.
pub const GLOB_FILES: usize = 500;
/// Files a tool looks at before it asks for a narrower question.
pub const WALK_FILES: usize = 200_000;
/// Bytes of a page of the internet that are read, decompressed.
pub const WEB_BYTES: usize = 2 * 1024 * 1024;
/// How long a page of the internet may take to come, redirects included, milliseconds.
pub const WEB_MS: u64 = 30_000;
/// Redirects that are followed to a page.
pub const WEB_REDIRECTS: usize = 5;
/// Bytes of a page's address.
pub const WEB_URL_BYTES: usize = 2_048;
/// Bytes of a note that agents leave for later sessions.
pub const MEMORY_BYTES: usize = 32 * 1024;
/// Such notes in a project.
pub const MEMORY_FILES: usize = 64;
/// Characters of such a note's name.
pub const MEMORY_NAME_CHARS: usize = 64;
/// Characters of a commit's subject line.
pub const SUBJECT_CHARS: usize = 72;
/// Largest prompt, bytes.
pub const PROMPT_BYTES: usize = 4 * 1024 * 1024;
/// Blobs up to this many bytes are rows; larger ones are files.
pub const BLOB_ROW_BYTES: usize = 64 * 1024;
/// Bytes of recently used texts kept in memory by one engine.
pub const RECENT_BYTES: u64 = 8 * 1024 * 1024;
/// Blobs below this many bytes are stored as they are.
pub const BLOB_PLAIN_BYTES: usize = 512;
/// Bytes of one text in an event that a model, a tool or a failure had a word in; longer ones are blobs.
pub const SENTENCE_BYTES: usize = 1024;
/// Largest single event record, bytes.
pub const RECORD_BYTES: usize = 1024 * 1024;
/// Activity after which a snapshot is due, milliseconds.
pub const SNAPSHOT_MS: u64 = 5_000;
/// New events a snapshot must be worth.
pub const SNAPSHOT_EVENTS: u64 = 200;
/// Events of a ledger that sessions of many trees share after which it is worth a snapshot, whoever wrote them.
pub const SNAPSHOT_SHARED_EVENTS: u64 = 400;
/// A wait for a limit that is longer than this is put on record, milliseconds.
pub const WAIT_TOLD_MS: u64 = 2_000;
/// How often who waits for calls of other processes to end looks whether they have, milliseconds.
pub const QUOTA_LOOK_MS: u64 = 1_000;
/// A wait that is longer than this does not end by itself in a person's quiet hours, milliseconds.
pub const QUIET_WAIT_MS: u64 = 600_000;
/// Calls in a row that find nothing of what the provider had kept, after which a person is asked.
pub const CACHE_MISSES: u32 = 3;
/// Tokens that a provider has kept for a session from which on it matters whether they are found again.
pub const CACHE_TOKENS: u64 = 4_096;
/// How long a place in a key's line is kept, beyond the moment it waits for, for who does not come; milliseconds.
pub const QUOTA_PLACE_MS: u64 = 5_000;
/// Places in a key's line that are on record at a time.
pub const QUOTA_PLACES: usize = 64;
/// Calls that one project may begin in a minute where only how many run at once is bounded: no bound.
pub const CROWD_PER_MINUTE: u64 = 1_000_000;
/// Calls back that a provider's breaker remembers at most.
pub const BREAKER_WINDOW: u32 = 32;
/// Longest delay between two tries of a provider that stays unwell, milliseconds.
pub const OUTAGE_MS: u64 = 300_000;
/// A wait for a limit that is longer than this makes way for the next model of a declared chain, milliseconds.
pub const FALLBACK_MS: u64 = 60_000;
/// Snapshots kept per stream.
pub const SNAPSHOTS_KEPT: u32 = 3;
/// Appends in one group commit.
pub const GROUP_COMMIT: usize = 1024;
/// Bytes of records and blobs in one group commit (one larger batch still goes, alone).
pub const GROUP_COMMIT_BYTES: usize = 16 * 1024 * 1024;
/// Largest single blob, bytes.
pub const BLOB_BYTES: usize = 256 * 1024 * 1024;
/// Writes, and likewise reads, that may wait for the store before it answers busy.
pub const JOURNAL_QUEUE: usize = 8 * 1024;
/// Connections (and threads) that read the store.
pub const JOURNAL_READERS: usize = 3;
/// How long a write waits for another process's transaction before it answers busy, milliseconds.
pub const JOURNAL_BUSY_MS: u64 = 10_000;
/// Frames of one stream between two entries of its sparse index.
pub const JOURNAL_MARK_FRAMES: u64 = 64;
/// Frames after which the table of stream heads is brought up to date.
pub const JOURNAL_HEADS_FRAMES: u64 = 256;
/// Streams whose head the store keeps in memory per connection.
pub const JOURNAL_HEADS_KEPT: usize = 16 * 1024;
/// Pages in the write-ahead log after which it is copied into the database file.
pub const JOURNAL_WAL_PAGES: u64 = 1_000;
/// Bytes of the write-ahead log's file above which an idle writer cuts it off.
pub const JOURNAL_WAL_BYTES: u64 = 16 * 1024 * 1024;
/// Quiet time after which the writer counts as idle, milliseconds.
pub const JOURNAL_IDLE_MS: u64 = 1_000;
/// Largest untracked file a savepoint takes in, bytes. Larger ones are left out, and said so.
pub const SAVEPOINT_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Times landing is tried again when the target moves meanwhile.
pub const LAND_TRIES: u32 = 3;

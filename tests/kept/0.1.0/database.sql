BEGIN TRANSACTION;
CREATE TABLE edda_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT edda_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "edda_alembic_version" VALUES('0007');
CREATE TABLE workflow_channels (
	channel VARCHAR(456) NOT NULL, 
	next_position BIGINT NOT NULL, 
	mode VARCHAR(16), 
	CONSTRAINT pk_workflow_channels PRIMARY KEY (channel)
);
INSERT INTO "workflow_channels" VALUES('kept.news',2,'broadcast');
INSERT INTO "workflow_channels" VALUES('kept.direct:kept_operations',2,'broadcast');
INSERT INTO "workflow_channels" VALUES('kept.never',1,'broadcast');
INSERT INTO "workflow_channels" VALUES('kept.told',2,NULL);
INSERT INTO "workflow_channels" VALUES('kept.message',1,'competing');
INSERT INTO "workflow_channels" VALUES('kept.event',1,'broadcast');
CREATE TABLE workflow_definitions (
	workflow_name VARCHAR(255) NOT NULL, 
	source_hash VARCHAR(64) NOT NULL, 
	source_code TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_workflow_definitions PRIMARY KEY (workflow_name, source_hash)
);
INSERT INTO "workflow_definitions" VALUES('kept_operations','97565a9699e1bdf941884c28000d80b9149115d5986c7f9861274f3d7e58f985','@workflow
async def kept_operations(ctx: WorkflowContext, item: Item) -> dict[str, Any]:
    """Every operation that can be recorded in a body that ends well."""
    seen: dict[str, Any] = {"values": await values(ctx, item), "session": await in_session(ctx)}
    for failing in (exhausted, refused):
        try:
            await failing(ctx)
        except (RetryExhaustedError, TerminalError) as error:
            seen[failing.name] = [type(error).__name__, str(error), type(error.__cause__).__name__]
    seen["drawn"] = [str(await ctx.now()), str(ctx.uuid4()), ctx.random().random()]
    await sleep(ctx, 0.001)
    seen["messages"] = await _messages(ctx)
    seen["together"] = await _together(ctx)
    seen["blocks"] = await _blocks(ctx)
    seen["children"] = await _children(ctx)
    await send_event("kept.sent", "/kept", {"a": 1}, Reachable.broker)
    await register_compensation(ctx, undo, "registered")
    await do(ctx, "first")
    await clear_compensations(ctx)
    await pivot(ctx)
    return seen
','2025-01-01 00:00:01.056228');
INSERT INTO "workflow_definitions" VALUES('kept_child','3c3d81b52eccbdb209aa63b2f1bf6c74352318c41683887d2a5f7b009ec7f7b8','@workflow
async def kept_child(ctx: WorkflowContext, fails: bool) -> str:
    await step(ctx, "child")
    if fails:
        raise LookupError("child")
    return ctx.instance_id
','2025-01-01 00:00:02.216670');
INSERT INTO "workflow_definitions" VALUES('kept_timer','7375c01ad810ae9ecf2b2abf6e98ae79dbf4d592767c3818f2c6db2a9df16b98','@workflow
async def kept_timer(ctx: WorkflowContext) -> None:
    await step(ctx, "before")
    await sleep(ctx, 60)
    await step(ctx, "after")
','2025-01-01 00:00:02.985378');
INSERT INTO "workflow_definitions" VALUES('kept_message','72053f37ae30b9952a534a7794020a2e1b24979cf10d5c062f078179517c1fed','@workflow
async def kept_message(ctx: WorkflowContext) -> Any:
    await subscribe(ctx, "kept.message", "competing")
    await step(ctx, "before")
    message = await receive(ctx, "kept.message")
    return [message.data, await step(ctx, "after")]
','2025-01-01 00:00:03.047110');
INSERT INTO "workflow_definitions" VALUES('kept_event','7bb79ad2ed823ba91db7a2d1c4dcac3e598993a8351b306d12439a8ed5d58bac','@workflow
async def kept_event(ctx: WorkflowContext) -> Any:
    await step(ctx, "before")
    event = await wait_event(ctx, "kept.event")
    return [event.data, await step(ctx, "after")]
','2025-01-01 00:00:03.125146');
INSERT INTO "workflow_definitions" VALUES('kept_attempts','dbd9aaf54f183b9ec77b3ed3b4f840c733dfc0812fd7132c09c6303aa0aa7c76','@workflow
async def kept_attempts(ctx: WorkflowContext) -> None:
    await step(ctx, "before")
    await reached_later(ctx, "after")
','2025-01-01 00:00:03.136792');
INSERT INTO "workflow_definitions" VALUES('kept_failed','e39c0b965a6f3e35bb6a83620973d87e74ac613ebbac10e3f81b5769e611232c','@workflow
async def kept_failed(ctx: WorkflowContext) -> None:
    await do(ctx, "chair")
    await do(ctx, "for ever")
    raise LookupError("failed", 7)
','2025-01-01 00:00:03.140962');
INSERT INTO "workflow_definitions" VALUES('kept_compensating','20181ffc4328d0be7defc3675e7b22fe0eabe78e47c08654f8c866006dab5e42','@workflow
async def kept_compensating(ctx: WorkflowContext) -> None:
    await do(ctx, "chair")
    await do_what_is_undone_later(ctx, "table")
    raise LookupError("failed")
','2025-01-01 00:00:03.154713');
INSERT INTO "workflow_definitions" VALUES('kept_undone','bfdfa0f7c36c2f0753d861d82c0be09a3d11ad55c583b28dc1fe66cefb152724','@workflow
async def kept_undone(ctx: WorkflowContext) -> str:
    await do(ctx, "chair")
    await execute_compensations(ctx)
    return await step(ctx, "after")
','2025-01-01 00:00:03.164114');
INSERT INTO "workflow_definitions" VALUES('kept_loop','622a08f691c5ab4dec00741dd525aa48f833ee02117f891e04cd83af06cb2459','@workflow
async def kept_loop(ctx: WorkflowContext, number: int) -> int:
    await step(ctx, f"number {number}")
    if number == 1:
        await ctx.recur(number=2)
    await sleep(ctx, 60)
    await step(ctx, "after")
    return number
','2025-01-01 00:00:03.185947');
INSERT INTO "workflow_definitions" VALUES('kept_cancelled','500cf3af6aa45c6ee69f163dfd6a8f39fd406b244a4cef03255ed7ba7c27e6a6','@workflow
async def kept_cancelled(ctx: WorkflowContext) -> None:
    await do(ctx, "chair")
    await sleep(ctx, 3600)
','2025-01-01 00:00:03.197234');
INSERT INTO "workflow_definitions" VALUES('kept_running','85c36d71af4e3f14646c56293f8a08374ffb84778266896aafafedb345adb4f5','@workflow
async def kept_running(ctx: WorkflowContext) -> None:
    await step(ctx, "before")
    await in_flight(ctx)
    await step(ctx, "after")
','2025-01-01 00:00:03.287086');
CREATE TABLE workflow_history (
	id INTEGER NOT NULL, 
	instance_id VARCHAR(255) NOT NULL, 
	activity_id VARCHAR(255) NOT NULL, 
	event_type VARCHAR(64) NOT NULL, 
	event_data TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_workflow_history PRIMARY KEY (id), 
	CONSTRAINT uq_workflow_history_instance_id_activity_id UNIQUE (instance_id, activity_id)
);
INSERT INTO "workflow_history" VALUES(1,'kept_operations','values:1','ActivityCompleted','{"activity_name":"values","result":{"item":{"name":"chair","price":"9.50"},"day":"2025-01-02","bytes":"AP8=","keys":{"1":[2,3]}},"input":{"args":[{"name":"chair","price":"9.50"}],"kwargs":{}},"types":{"/item":"tests.kept.workflows:Item","/item/price":"Decimal","/day":"date","/bytes":"bytes","/keys":"dict[int]","/keys/1":"tuple"}}','2025-01-01 00:00:01.119471');
INSERT INTO "workflow_history" VALUES(2,'kept_operations','in_session:1','ActivityCompleted','{"activity_name":"in_session","result":1,"input":{"args":[],"kwargs":{}}}','2025-01-01 00:00:01.153727');
INSERT INTO "workflow_history" VALUES(3,'kept_operations','exhausted:1','ActivityFailed','{"activity_name":"exhausted","error_type":"OSError","error_message":"[Errno 5] out of reach","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 83, in exhausted\n    raise OSError(5, \"out of reach\")\nOSError: [Errno 5] out of reach\n","exception":{"type":"edda.exceptions:RetryExhaustedError","message":"Activity exhausted failed after 2 attempts: Max attempts (2) reached","args":["Activity exhausted failed after 2 attempts: Max attempts (2) reached"],"attributes":{},"bases":["edda.exceptions:EddaError","builtins:Exception","builtins:BaseException"],"cause":{"type":"builtins:OSError","message":"[Errno 5] out of reach","args":[5,"out of reach"],"attributes":{},"bases":["builtins:Exception","builtins:BaseException"],"cause":null,"notes":[]},"notes":[]},"input":{"args":[],"kwargs":{}},"retry_metadata":{"total_attempts":2,"total_duration_ms":1,"exhausted":true,"errors":[{"attempt":1,"error_type":"OSError","message":"[Errno 5] out of reach","timestamp_ms":1795906330456},{"attempt":2,"error_type":"OSError","message":"[Errno 5] out of reach","timestamp_ms":1795906330496}],"last_error":{"error_type":"OSError","message":"[Errno 5] out of reach"}}}','2025-01-01 00:00:01.222067');
INSERT INTO "workflow_history" VALUES(4,'kept_operations','refused:1','ActivityFailed','{"activity_name":"refused","error_type":"TerminalError","error_message":"refused","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 89, in refused\n    raise TerminalError(\"refused\")\nedda.exceptions.TerminalError: refused\n","exception":{"type":"edda.exceptions:TerminalError","message":"refused","args":["refused"],"attributes":{},"bases":["edda.exceptions:EddaError","builtins:Exception","builtins:BaseException"],"cause":null,"notes":[]},"input":{"args":[],"kwargs":{}}}','2025-01-01 00:00:01.238502');
INSERT INTO "workflow_history" VALUES(5,'kept_operations','now:1','TimeRead','{"time":"2026-11-28T22:52:10.534655+00:00"}','2025-01-01 00:00:01.247930');
INSERT INTO "workflow_history" VALUES(6,'kept_operations','sleep:1','TimerExpired','{"result":null,"timer_id":"sleep:1","expires_at":"2026-11-28T22:52:10.599317+00:00"}','2025-01-01 00:00:01.312533');
INSERT INTO "workflow_history" VALUES(7,'kept_operations','subscribe_kept.news:1','ChannelSubscribed','{"channel":"kept.news","mode":"broadcast"}','2025-01-01 00:00:01.726686');
INSERT INTO "workflow_history" VALUES(8,'kept_operations','publish_kept.news:1','MessagePublished','{"channel":"kept.news","message_id":"23257176-a229-4d0e-80ad-dc014fe3f1db","target_instance_id":null}','2025-01-01 00:00:01.788968');
INSERT INTO "workflow_history" VALUES(9,'kept_operations','receive_kept.news:1','ChannelMessageReceived','{"id":"23257176-a229-4d0e-80ad-dc014fe3f1db","channel":"kept.news","data":{"number":1},"metadata":{"published_at":"2026-11-28T22:52:11.066675+00:00","source_instance_id":"kept_operations"},"published_at":"2025-01-01T00:00:01.790999+00:00"}','2025-01-01 00:00:01.829711');
INSERT INTO "workflow_history" VALUES(10,'kept_operations','receive_kept.news:2','MessageTimeout','{"_error":true,"error_type":"TimeoutError","error_message":"Message on channel ''kept.news'' did not arrive within timeout","channel":"kept.news","timeout_at":"2026-11-28T22:52:11.207721+00:00"}','2025-01-01 00:00:01.921254');
INSERT INTO "workflow_history" VALUES(11,'kept_operations','unsubscribe_kept.news:1','ChannelUnsubscribed','{"channel":"kept.news"}','2025-01-01 00:00:01.939456');
INSERT INTO "workflow_history" VALUES(12,'kept_operations','subscribe_kept.direct:1','ChannelSubscribed','{"channel":"kept.direct","mode":"direct"}','2025-01-01 00:00:01.969984');
INSERT INTO "workflow_history" VALUES(13,'kept_operations','send_to_kept.direct:1','MessageSent','{"channel":"kept.direct","message_id":"716d8c9b-72e7-4563-8538-a7d41465ab7c","target_instance_id":"kept_operations","delivered":false}','2025-01-01 00:00:02.009941');
INSERT INTO "workflow_history" VALUES(14,'kept_operations','receive_kept.direct:1','ChannelMessageReceived','{"id":"716d8c9b-72e7-4563-8538-a7d41465ab7c","channel":"kept.direct","data":"AA==","types":{"":"bytes"},"metadata":{"sent_at":"2026-11-28T22:52:11.264843+00:00","source_instance_id":"kept_operations"},"published_at":"2025-01-01T00:00:02.010795+00:00"}','2025-01-01 00:00:02.046411');
INSERT INTO "workflow_history" VALUES(15,'kept_operations','receive_kept.never:1','MessageTimeout','{"_error":true,"error_type":"EventTimeoutError","error_message":"Event ''kept.never'' did not arrive within 0.001 seconds","channel":"kept.never","timeout_at":"2026-11-28T22:52:11.387069+00:00"}','2025-01-01 00:00:02.103826');
INSERT INTO "workflow_history" VALUES(16,'kept_operations','step:1','ActivityCompleted','{"activity_name":"step","result":"left","input":{"args":["left"],"kwargs":{}}}','2025-01-01 00:00:02.113810');
INSERT INTO "workflow_history" VALUES(17,'kept_operations','step:2','ActivityCompleted','{"activity_name":"step","result":"right","input":{"args":["right"],"kwargs":{}}}','2025-01-01 00:00:02.113821');
INSERT INTO "workflow_history" VALUES(18,'kept_operations','sleep:2','TimerExpired','{"result":null,"timer_id":"sleep:2","expires_at":"2026-11-28T22:52:11.415808+00:00"}','2025-01-01 00:00:02.131420');
INSERT INTO "workflow_history" VALUES(19,'kept_operations','step:3','ActivityCompleted','{"activity_name":"step","result":"soon","input":{"args":["soon"],"kwargs":{}}}','2025-01-01 00:00:02.140111');
INSERT INTO "workflow_history" VALUES(20,'kept_operations','race:1','RaceWon','{"winner":"soon","index":1}','2025-01-01 00:00:02.150507');
INSERT INTO "workflow_history" VALUES(21,'kept_operations','one','ActivityCompleted','{"activity_name":"step","result":"one","input":{"args":["one"],"kwargs":{}}}','2025-01-01 00:00:02.158207');
INSERT INTO "workflow_history" VALUES(22,'kept_operations','two','ActivityCompleted','{"activity_name":"step","result":"two","input":{"args":["two"],"kwargs":{}}}','2025-01-01 00:00:02.158237');
INSERT INTO "workflow_history" VALUES(23,'kept_operations','transaction:1/step:1','ActivityCompleted','{"activity_name":"step","result":"in the block","input":{"args":["in the block"],"kwargs":{}},"after":"two"}','2025-01-01 00:00:02.164583');
INSERT INTO "workflow_history" VALUES(24,'kept_operations','transaction:1/send_event_transactional_kept.block:1','OutboxEventAdded','{"event_id":"a683316f-9b2a-4e25-b470-0bab7457698a","event_type":"kept.block","event_source":"/kept","after":"transaction:1/step:1"}','2025-01-01 00:00:02.164601');
INSERT INTO "workflow_history" VALUES(25,'kept_operations','transaction:1/publish_kept.told:1','MessagePublished','{"channel":"kept.told","message_id":"3dfa5db8-8e41-4d1f-9441-79f8da4c6aed","target_instance_id":null,"after":"transaction:1/send_event_transactional_kept.block:1"}','2025-01-01 00:00:02.164608');
INSERT INTO "workflow_history" VALUES(26,'kept_operations','transaction:1','TransactionCommitted','{}','2025-01-01 00:00:02.164613');
INSERT INTO "workflow_history" VALUES(27,'kept_operations','transaction:2/step:1','ActivityCompleted','{"activity_name":"step","result":"undone","input":{"args":["undone"],"kwargs":{}},"after":"transaction:1"}','2025-01-01 00:00:02.177958');
INSERT INTO "workflow_history" VALUES(28,'kept_operations','transaction:2','TransactionRolledBack','{}','2025-01-01 00:00:02.177978');
INSERT INTO "workflow_history" VALUES(29,'kept_operations','send_event_transactional_kept.body:1','OutboxEventAdded','{"event_id":"0586de30-de76-4039-8348-a97f730fc8f7","event_type":"kept.body","event_source":"/kept"}','2025-01-01 00:00:02.186819');
INSERT INTO "workflow_history" VALUES(30,'kept_child-895b99439def397779a3d43ef918fe7c','step:1','ActivityCompleted','{"activity_name":"step","result":"child","input":{"args":["child"],"kwargs":{}}}','2025-01-01 00:00:02.225137');
INSERT INTO "workflow_history" VALUES(31,'kept_operations','start_kept_child:1','ChildWorkflowStarted','{"workflow_name":"kept_child","instance_id":"kept_child-895b99439def397779a3d43ef918fe7c"}','2025-01-01 00:00:02.259504');
INSERT INTO "workflow_history" VALUES(32,'kept_child-c0b4e9aaee0382ee90f2e5dd6106602f','step:1','ActivityCompleted','{"activity_name":"step","result":"child","input":{"args":["child"],"kwargs":{}}}','2025-01-01 00:00:02.274692');
INSERT INTO "workflow_history" VALUES(33,'kept_child-c0b4e9aaee0382ee90f2e5dd6106602f','workflow_failed','WorkflowFailed','{"error_type":"LookupError","error_message":"child","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 128, in kept_child\n    raise LookupError(\"child\")\nLookupError: child\n","exception":{"type":"builtins:LookupError","message":"child","args":["child"],"attributes":{},"bases":["builtins:Exception","builtins:BaseException"],"cause":null,"notes":[]}}','2025-01-01 00:00:02.287526');
INSERT INTO "workflow_history" VALUES(34,'kept_operations','start_kept_child:2','ChildWorkflowStarted','{"workflow_name":"kept_child","instance_id":"kept_child-c0b4e9aaee0382ee90f2e5dd6106602f","exception":{"type":"builtins:LookupError","message":"child","args":["child"],"attributes":{"instance_id":"kept_child-c0b4e9aaee0382ee90f2e5dd6106602f"},"bases":["builtins:Exception","builtins:BaseException"],"cause":null,"notes":["Edda workflow instance: kept_child-c0b4e9aaee0382ee90f2e5dd6106602f"]}}','2025-01-01 00:00:02.299799');
INSERT INTO "workflow_history" VALUES(35,'kept_operations','send_event_kept.sent:1','EventSent','{"event_id":"18b93d84-9fdf-4531-b0aa-6ccb2d50434a","event_type":"kept.sent","event_source":"/kept","broker_url":"http://127.0.0.1:38677/"}','2025-01-01 00:00:02.873105');
INSERT INTO "workflow_history" VALUES(36,'kept_operations','register_compensation_undo:1','CompensationRegistered','{"compensation_id":1,"activity_name":"undo","function":"tests.kept.workflows:undo","args":["registered"],"kwargs":{},"activity_id":"undo:1"}','2025-01-01 00:00:02.876097');
INSERT INTO "workflow_history" VALUES(37,'kept_operations','do:1','ActivityCompleted','{"activity_name":"do","result":null,"compensations":[{"compensation_id":2,"activity_name":"undo","function":"tests.kept.workflows:undo","args":[],"kwargs":{"name":"first"}}],"input":{"args":["first"],"kwargs":{}}}','2025-01-01 00:00:02.878053');
INSERT INTO "workflow_history" VALUES(38,'kept_operations','clear_compensations:1','CompensationsCleared','{"count":2,"cleared":[1,2]}','2025-01-01 00:00:02.879484');
INSERT INTO "workflow_history" VALUES(39,'kept_operations','pivot:1','PivotPassed','{"count":0,"cleared":[]}','2025-01-01 00:00:02.880204');
INSERT INTO "workflow_history" VALUES(40,'kept_timer','step:1','ActivityCompleted','{"activity_name":"step","result":"before","input":{"args":["before"],"kwargs":{}}}','2025-01-01 00:00:03.000232');
INSERT INTO "workflow_history" VALUES(41,'kept_message','subscribe_kept.message:1','ChannelSubscribed','{"channel":"kept.message","mode":"competing"}','2025-01-01 00:00:03.061354');
INSERT INTO "workflow_history" VALUES(42,'kept_message','step:1','ActivityCompleted','{"activity_name":"step","result":"before","input":{"args":["before"],"kwargs":{}}}','2025-01-01 00:00:03.075774');
INSERT INTO "workflow_history" VALUES(43,'kept_event','step:1','ActivityCompleted','{"activity_name":"step","result":"before","input":{"args":["before"],"kwargs":{}}}','2025-01-01 00:00:03.128715');
INSERT INTO "workflow_history" VALUES(44,'kept_attempts','step:1','ActivityCompleted','{"activity_name":"step","result":"before","input":{"args":["before"],"kwargs":{}}}','2025-01-01 00:00:03.137739');
INSERT INTO "workflow_history" VALUES(45,'kept_failed','do:1','ActivityCompleted','{"activity_name":"do","result":null,"compensations":[{"compensation_id":1,"activity_name":"undo","function":"tests.kept.workflows:undo","args":[],"kwargs":{"name":"chair"}}],"input":{"args":["chair"],"kwargs":{}}}','2025-01-01 00:00:03.142627');
INSERT INTO "workflow_history" VALUES(46,'kept_failed','do:2','ActivityCompleted','{"activity_name":"do","result":null,"compensations":[{"compensation_id":2,"activity_name":"undo","function":"tests.kept.workflows:undo","args":[],"kwargs":{"name":"for ever"}}],"input":{"args":["for ever"],"kwargs":{}}}','2025-01-01 00:00:03.143557');
INSERT INTO "workflow_history" VALUES(47,'kept_failed','workflow_failed','WorkflowFailed','{"error_type":"LookupError","error_message":"(''failed'', 7)","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 243, in kept_failed\n    raise LookupError(\"failed\", 7)\nLookupError: (''failed'', 7)\n","exception":{"type":"builtins:LookupError","message":"(''failed'', 7)","args":["failed",7],"attributes":{},"bases":["builtins:Exception","builtins:BaseException"],"cause":null,"notes":[]}}','2025-01-01 00:00:03.144582');
INSERT INTO "workflow_history" VALUES(48,'kept_failed','compensation_2','CompensationFailed','{"compensation_id":2,"activity_name":"undo","error_type":"TerminalError","error_message":"no way back","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 109, in undo\n    raise TerminalError(\"no way back\")\nedda.exceptions.TerminalError: no way back\n","exception":{"type":"edda.exceptions:TerminalError","message":"no way back","args":["no way back"],"attributes":{},"bases":["edda.exceptions:EddaError","builtins:Exception","builtins:BaseException"],"cause":null,"notes":[]}}','2025-01-01 00:00:03.150139');
INSERT INTO "workflow_history" VALUES(49,'kept_failed','compensation_1','CompensationExecuted','{"compensation_id":1,"activity_name":"undo","args":[],"kwargs":{"name":"chair"}}','2025-01-01 00:00:03.151526');
INSERT INTO "workflow_history" VALUES(50,'kept_compensating','do:1','ActivityCompleted','{"activity_name":"do","result":null,"compensations":[{"compensation_id":1,"activity_name":"undo","function":"tests.kept.workflows:undo","args":[],"kwargs":{"name":"chair"}}],"input":{"args":["chair"],"kwargs":{}}}','2025-01-01 00:00:03.155933');
INSERT INTO "workflow_history" VALUES(51,'kept_compensating','do_what_is_undone_later:1','ActivityCompleted','{"activity_name":"do_what_is_undone_later","result":null,"compensations":[{"compensation_id":2,"activity_name":"reached_later","function":"tests.kept.workflows:reached_later","args":[],"kwargs":{"name":"table"}}],"input":{"args":["table"],"kwargs":{}}}','2025-01-01 00:00:03.156913');
INSERT INTO "workflow_history" VALUES(52,'kept_compensating','workflow_failed','WorkflowFailed','{"error_type":"LookupError","error_message":"failed","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 250, in kept_compensating\n    raise LookupError(\"failed\")\nLookupError: failed\n","exception":{"type":"builtins:LookupError","message":"failed","args":["failed"],"attributes":{},"bases":["builtins:Exception","builtins:BaseException"],"cause":null,"notes":[]}}','2025-01-01 00:00:03.157883');
INSERT INTO "workflow_history" VALUES(53,'kept_undone','do:1','ActivityCompleted','{"activity_name":"do","result":null,"compensations":[{"compensation_id":1,"activity_name":"undo","function":"tests.kept.workflows:undo","args":[],"kwargs":{"name":"chair"}}],"input":{"args":["chair"],"kwargs":{}}}','2025-01-01 00:00:03.165176');
INSERT INTO "workflow_history" VALUES(54,'kept_undone','execute_compensations:1','CompensationsBegun','{"compensation_ids":[1]}','2025-01-01 00:00:03.165841');
INSERT INTO "workflow_history" VALUES(55,'kept_undone','compensation_1','CompensationExecuted','{"compensation_id":1,"activity_name":"undo","args":[],"kwargs":{"name":"chair"}}','2025-01-01 00:00:03.172664');
INSERT INTO "workflow_history" VALUES(56,'kept_undone','step:1','ActivityCompleted','{"activity_name":"step","result":"after","input":{"args":["after"],"kwargs":{}}}','2025-01-01 00:00:03.179943');
INSERT INTO "workflow_history" VALUES(57,'kept_loop-01a2245be73caf9e6500bc9172f9616a','step:1','ActivityCompleted','{"activity_name":"step","result":"number 2","input":{"args":["number 2"],"kwargs":{}}}','2025-01-01 00:00:03.194676');
INSERT INTO "workflow_history" VALUES(58,'kept_cancelled','do:1','ActivityCompleted','{"activity_name":"do","result":null,"compensations":[{"compensation_id":1,"activity_name":"undo","function":"tests.kept.workflows:undo","args":[],"kwargs":{"name":"chair"}}],"input":{"args":["chair"],"kwargs":{}}}','2025-01-01 00:00:03.206784');
INSERT INTO "workflow_history" VALUES(59,'kept_cancelled','workflow_cancelled','WorkflowCancelled','{"cancelled_by":"test","cancelled_at":"2026-11-28T22:52:12.509082+00:00","previous_status":"waiting_for_timer"}','2025-01-01 00:00:03.226213');
INSERT INTO "workflow_history" VALUES(60,'kept_cancelled','compensation_1','CompensationExecuted','{"compensation_id":1,"activity_name":"undo","args":[],"kwargs":{"name":"chair"}}','2025-01-01 00:00:03.278849');
INSERT INTO "workflow_history" VALUES(61,'kept_running','step:1','ActivityCompleted','{"activity_name":"step","result":"before","input":{"args":["before"],"kwargs":{}}}','2025-01-01 00:00:03.288279');
CREATE TABLE workflow_history_archive (
	instance_id VARCHAR(255) NOT NULL, 
	id INTEGER NOT NULL, 
	activity_id VARCHAR(255) NOT NULL, 
	event_type VARCHAR(64) NOT NULL, 
	event_data TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_workflow_history_archive PRIMARY KEY (instance_id, id)
);
INSERT INTO "workflow_history_archive" VALUES('kept_loop',57,'step:1','ActivityCompleted','{"activity_name":"step","result":"number 1","input":{"args":["number 1"],"kwargs":{}}}','2025-01-01 00:00:03.188758');
CREATE TABLE workflow_inbox (
	event_key CHAR(64) NOT NULL, 
	owner_service VARCHAR(255) NOT NULL, 
	source TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	received_at DATETIME NOT NULL, 
	CONSTRAINT pk_workflow_inbox PRIMARY KEY (event_key)
);
CREATE TABLE workflow_instances (
	instance_id VARCHAR(255) NOT NULL, 
	workflow_name VARCHAR(255) NOT NULL, 
	source_hash VARCHAR(64) NOT NULL, 
	owner_service VARCHAR(255) NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	current_activity_id VARCHAR(255), 
	continued_from VARCHAR(255), 
	started_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	input_data TEXT NOT NULL, 
	input_types TEXT, 
	output_data TEXT, 
	lease_owner VARCHAR(255), 
	lease_token BIGINT DEFAULT '0' NOT NULL, 
	leased_at DATETIME, 
	lock_timeout_seconds DOUBLE, 
	due_at DATETIME, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	last_error TEXT, chain_id VARCHAR(255), cancel_token BIGINT, 
	CONSTRAINT pk_workflow_instances PRIMARY KEY (instance_id)
);
INSERT INTO "workflow_instances" VALUES('kept_operations','kept_operations','97565a9699e1bdf941884c28000d80b9149115d5986c7f9861274f3d7e58f985','kept','completed','receive_kept.never:1',NULL,'2025-01-01 00:00:01.057735','2025-01-01 00:00:02.881651','{"item":{"name":"chair","price":"9.50"}}',NULL,'{"result":{"values":{"item":{"name":"chair","price":"9.50"},"day":"2025-01-02","bytes":"AP8=","keys":{"1":[2,3]}},"session":1,"exhausted":["RetryExhaustedError","Activity exhausted failed after 2 attempts: Max attempts (2) reached","OSError"],"refused":["TerminalError","refused","NoneType"],"drawn":["2026-11-28 22:52:10.534655+00:00","a2be10dc-e8c5-4c39-858a-b8840123966c",0.1968202610500489],"messages":[{"number":1},"TimeoutError",[0],"Event ''kept.never'' did not arrive within 0.001 seconds"],"together":["left","right",null,"soon","soon","one","two"],"blocks":["in the block","undone"],"children":["kept_child-895b99439def397779a3d43ef918fe7c","child"]},"types":{"/values/item":"tests.kept.workflows:Item","/values/item/price":"Decimal","/values/day":"date","/values/bytes":"bytes","/values/keys":"dict[int]","/values/keys/1":"tuple"}}',NULL,4,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_child-895b99439def397779a3d43ef918fe7c','kept_child','3c3d81b52eccbdb209aa63b2f1bf6c74352318c41683887d2a5f7b009ec7f7b8','kept','completed',NULL,NULL,'2025-01-01 00:00:02.216814','2025-01-01 00:00:02.241754','{"fails":false}',NULL,'{"result":"kept_child-895b99439def397779a3d43ef918fe7c"}',NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_child-c0b4e9aaee0382ee90f2e5dd6106602f','kept_child','3c3d81b52eccbdb209aa63b2f1bf6c74352318c41683887d2a5f7b009ec7f7b8','kept','failed',NULL,NULL,'2025-01-01 00:00:02.264388','2025-01-01 00:00:02.287605','{"fails":true}',NULL,'{"error_type":"LookupError","error_message":"child","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 128, in kept_child\n    raise LookupError(\"child\")\nLookupError: child\n"}',NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_timer','kept_timer','7375c01ad810ae9ecf2b2abf6e98ae79dbf4d592767c3818f2c6db2a9df16b98','kept','waiting_for_timer','sleep:1',NULL,'2025-01-01 00:00:02.985486','2025-01-01 00:00:03.010192','{}',NULL,NULL,NULL,1,NULL,NULL,'2025-01-01 00:01:03.010091',0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_message','kept_message','72053f37ae30b9952a534a7794020a2e1b24979cf10d5c062f078179517c1fed','kept','waiting_for_message','receive_kept.message:1',NULL,'2025-01-01 00:00:03.047312','2025-01-01 00:00:03.104125','{}',NULL,NULL,NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_event','kept_event','7bb79ad2ed823ba91db7a2d1c4dcac3e598993a8351b306d12439a8ed5d58bac','kept','waiting_for_message','receive_kept.event:1',NULL,'2025-01-01 00:00:03.125243','2025-01-01 00:00:03.132558','{}',NULL,NULL,NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_attempts','kept_attempts','dbd9aaf54f183b9ec77b3ed3b4f840c733dfc0812fd7132c09c6303aa0aa7c76','kept','waiting_for_timer','reached_later:1',NULL,'2025-01-01 00:00:03.136867','2025-01-01 00:00:03.138665','{}',NULL,NULL,NULL,1,NULL,NULL,'2025-01-01 00:01:03.138610',0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_failed','kept_failed','e39c0b965a6f3e35bb6a83620973d87e74ac613ebbac10e3f81b5769e611232c','kept','failed',NULL,NULL,'2025-01-01 00:00:03.141177','2025-01-01 00:00:03.152417','{}',NULL,'{"error_type":"LookupError","error_message":"(''failed'', 7)","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 243, in kept_failed\n    raise LookupError(\"failed\", 7)\nLookupError: (''failed'', 7)\n","compensation_errors":[{"compensation_id":2,"activity_name":"undo","error_type":"TerminalError","error_message":"no way back"}]}',NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_compensating','kept_compensating','20181ffc4328d0be7defc3675e7b22fe0eabe78e47c08654f8c866006dab5e42','kept','compensating','compensation_2',NULL,'2025-01-01 00:00:03.154779','2025-01-01 00:00:03.161654','{}',NULL,'{"error_type":"LookupError","error_message":"failed","stack_trace":"Traceback (most recent call last):\n  File \"/app/tests/kept/workflows.py\", line 250, in kept_compensating\n    raise LookupError(\"failed\")\nLookupError: failed\n"}',NULL,1,NULL,NULL,'2025-01-01 00:01:03.161585',0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_undone','kept_undone','bfdfa0f7c36c2f0753d861d82c0be09a3d11ad55c583b28dc1fe66cefb152724','kept','completed',NULL,NULL,'2025-01-01 00:00:03.164177','2025-01-01 00:00:03.183902','{}',NULL,'{"result":"after"}',NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_loop','kept_loop','622a08f691c5ab4dec00741dd525aa48f833ee02117f891e04cd83af06cb2459','kept','recurred','step:1',NULL,'2025-01-01 00:00:03.186011','2025-01-01 00:00:03.191496','{"number":1}',NULL,'{"recur_kwargs":{"number":2}}',NULL,1,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "workflow_instances" VALUES('kept_loop-01a2245be73caf9e6500bc9172f9616a','kept_loop','622a08f691c5ab4dec00741dd525aa48f833ee02117f891e04cd83af06cb2459','kept','waiting_for_timer','sleep:1','kept_loop','2025-01-01 00:00:03.192898','2025-01-01 00:00:03.195835','{"number":2}',NULL,NULL,NULL,1,NULL,NULL,'2025-01-01 00:01:03.195627',0,NULL,'kept_loop',NULL);
INSERT INTO "workflow_instances" VALUES('kept_cancelled','kept_cancelled','500cf3af6aa45c6ee69f163dfd6a8f39fd406b244a4cef03255ed7ba7c27e6a6','kept','cancelled','sleep:1',NULL,'2025-01-01 00:00:03.197302','2025-01-01 00:00:03.284918','{}',NULL,'{"cancelled_by":"test","cancelled_at":"2026-11-28T22:52:12.509082+00:00","previous_status":"waiting_for_timer"}',NULL,2,NULL,NULL,NULL,0,NULL,NULL,0);
INSERT INTO "workflow_instances" VALUES('kept_running','kept_running','85c36d71af4e3f14646c56293f8a08374ffb84778266896aafafedb345adb4f5','kept','running',NULL,NULL,'2025-01-01 00:00:03.287194','2025-01-01 00:00:03.287200','{}',NULL,NULL,'kept-19998-7ad57e0a',1,'2025-01-01 00:00:03.287205',NULL,'2025-01-01 00:00:33.287285',0,NULL,NULL,NULL);
CREATE TABLE workflow_leader (
	role VARCHAR(32) NOT NULL, 
	owner VARCHAR(255), 
	expires_at DATETIME NOT NULL, 
	CONSTRAINT pk_workflow_leader PRIMARY KEY (role)
);
INSERT INTO "workflow_leader" VALUES('leader','kept-19998-7ad57e0a','2025-01-01 00:00:46.006844');
CREATE TABLE workflow_messages (
	channel VARCHAR(456) NOT NULL, 
	target VARCHAR(255) NOT NULL, 
	position BIGINT NOT NULL, 
	message_id VARCHAR(255) NOT NULL, 
	data TEXT NOT NULL, 
	types TEXT, 
	metadata TEXT NOT NULL, 
	published_at DATETIME NOT NULL, 
	CONSTRAINT pk_workflow_messages PRIMARY KEY (channel, target, position)
);
INSERT INTO "workflow_messages" VALUES('kept.news','',1,'23257176-a229-4d0e-80ad-dc014fe3f1db','{"number":1}',NULL,'{"published_at":"2026-11-28T22:52:11.066675+00:00","source_instance_id":"kept_operations"}','2025-01-01 00:00:01.790999');
INSERT INTO "workflow_messages" VALUES('kept.told','',1,'3dfa5db8-8e41-4d1f-9441-79f8da4c6aed','1',NULL,'{"published_at":"2026-11-28T22:52:11.451211+00:00","source_instance_id":"kept_operations"}','2025-01-01 00:00:02.166720');
CREATE TABLE workflow_outbox (
	id INTEGER NOT NULL, 
	event_id VARCHAR(255) NOT NULL, 
	event_type TEXT NOT NULL, 
	event_source TEXT NOT NULL, 
	subject TEXT, 
	extensions TEXT, 
	content_type TEXT NOT NULL, 
	event_data TEXT NOT NULL, 
	data_form VARCHAR(16) NOT NULL, 
	created_at DATETIME NOT NULL, 
	arrived_at DATETIME, 
	ordering_key VARCHAR(64), 
	status VARCHAR(16) NOT NULL, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	retry_count INTEGER DEFAULT '0' NOT NULL, 
	last_error TEXT, 
	published_at DATETIME, 
	CONSTRAINT pk_workflow_outbox PRIMARY KEY (id)
);
INSERT INTO "workflow_outbox" VALUES(1,'a683316f-9b2a-4e25-b470-0bab7457698a','kept.block','/kept',NULL,NULL,'application/json','{"a":1}','json','2025-01-01 00:00:02.166305','2025-01-01 00:00:02.166317','0226de69b90346525f7d77e2c9653897089ab98e4566ebd5277e8534894191ae','pending',0,0,NULL,NULL);
INSERT INTO "workflow_outbox" VALUES(2,'0586de30-de76-4039-8348-a97f730fc8f7','kept.body','/kept',NULL,NULL,'application/json','{"at":"2025-01-01T00:00:00+00:00"}','json','2025-01-01 00:00:02.186987','2025-01-01 00:00:02.186993','0226de69b90346525f7d77e2c9653897089ab98e4566ebd5277e8534894191ae','pending',0,0,NULL,NULL);
CREATE TABLE workflow_outbox_keys (
	ordering_key VARCHAR(64) NOT NULL, 
	due_at DATETIME NOT NULL, 
	lease_token VARCHAR(64), 
	waits_for VARCHAR(16), 
	CONSTRAINT pk_workflow_outbox_keys PRIMARY KEY (ordering_key)
);
CREATE TABLE workflow_subscriptions (
	subscriber_id VARCHAR(255) NOT NULL, 
	channel VARCHAR(456) NOT NULL, 
	mode VARCHAR(16) NOT NULL, 
	position BIGINT NOT NULL, 
	CONSTRAINT pk_workflow_subscriptions PRIMARY KEY (subscriber_id, channel)
);
INSERT INTO "workflow_subscriptions" VALUES('kept_message','kept.message','competing',0);
INSERT INTO "workflow_subscriptions" VALUES('kept_event','kept.event','broadcast',0);
CREATE TABLE workflow_waits (
	instance_id VARCHAR(255) NOT NULL, 
	activity_id VARCHAR(255) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	due_at DATETIME, 
	data TEXT, channel VARCHAR(456), 
	CONSTRAINT pk_workflow_waits PRIMARY KEY (instance_id, activity_id)
);
INSERT INTO "workflow_waits" VALUES('kept_timer','sleep:1','timer','2025-01-01 00:01:03.010091',NULL,NULL);
INSERT INTO "workflow_waits" VALUES('kept_message','receive_kept.message:1','message',NULL,NULL,'kept.message');
INSERT INTO "workflow_waits" VALUES('kept_event','receive_kept.event:1','message',NULL,NULL,'kept.event');
INSERT INTO "workflow_waits" VALUES('kept_attempts','reached_later:1','retry','2025-01-01 00:01:03.138610','{"retry":{"total_attempts":1,"total_duration_ms":60000,"exhausted":false,"errors":[{"attempt":1,"error_type":"OSError","message":"after","timestamp_ms":1795906332425}],"last_error":{"error_type":"OSError","message":"after"}},"details":null}',NULL);
INSERT INTO "workflow_waits" VALUES('kept_compensating','compensation_2','retry','2025-01-01 00:01:03.161585','{"retry":{"total_attempts":1,"total_duration_ms":60000,"exhausted":false,"errors":[{"attempt":1,"error_type":"OSError","message":"table","timestamp_ms":1795906332448}],"last_error":{"error_type":"OSError","message":"table"}},"details":null}',NULL);
INSERT INTO "workflow_waits" VALUES('kept_loop-01a2245be73caf9e6500bc9172f9616a','sleep:1','timer','2025-01-01 00:01:03.195627',NULL,NULL);
CREATE INDEX ix_workflow_instances_due_at_workflow_name ON workflow_instances (due_at, workflow_name) WHERE due_at IS NOT NULL;
CREATE INDEX ix_workflow_instances_started_at_instance_id ON workflow_instances (started_at, instance_id);
CREATE INDEX ix_workflow_inbox_received_at ON workflow_inbox (received_at);
CREATE INDEX ix_workflow_instances_chain_id_status ON workflow_instances (chain_id, status) WHERE chain_id IS NOT NULL;
CREATE INDEX ix_workflow_outbox_arrived_at_id ON workflow_outbox (arrived_at, id) WHERE arrived_at IS NOT NULL;
CREATE INDEX ix_workflow_outbox_ordering_key_id ON workflow_outbox (ordering_key, id) WHERE ordering_key IS NOT NULL;
CREATE INDEX ix_workflow_outbox_status_id ON workflow_outbox (status, id);
CREATE INDEX ix_workflow_outbox_published_at ON workflow_outbox (published_at) WHERE published_at IS NOT NULL;
CREATE INDEX ix_workflow_outbox_keys_due_at ON workflow_outbox_keys (due_at);
CREATE INDEX ix_workflow_messages_published_at ON workflow_messages (published_at);
CREATE INDEX ix_workflow_subscriptions_mode_channel ON workflow_subscriptions (mode, channel);
CREATE INDEX ix_workflow_waits_channel ON workflow_waits (channel) WHERE channel IS NOT NULL;
COMMIT;

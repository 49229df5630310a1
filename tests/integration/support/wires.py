"""The wires that the scripted model server speaks: how each asks, and how each tells a script's items.

A wire reads a request's body (user_texts, outputs, turn), and tells an Entry of model_server.py as the
events of a stream (encoded, one a piece) or as one JSON object.
"""
import json
import re


def pieces(text, size=48):
    """TEXT in pieces; an empty one is one piece."""
    return [text[start:start + size] for start in range(0, len(text), size)] or [""]


def _parts(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


class Responses:
    """OpenAI's Responses API."""
    name = "responses"
    path = "/responses"

    @staticmethod
    def conversation(body):
        """What was said so far."""
        return body.get("input", [])

    @staticmethod
    def user_texts(body):
        """The text of every user message."""
        return [part.get("text", "") for item in body.get("input", []) if item.get("role") == "user"
                for part in _parts(item.get("content", ""))]

    @staticmethod
    def outputs(body):
        """What the calls came to: call_id → output, in the order of the conversation."""
        return {item["call_id"]: item["output"] for item in body.get("input", [])
                if item.get("type", "").endswith("_call_output")}

    @staticmethod
    def turn(body):
        """Which turn of the script comes next: one more than the last in the conversation."""
        ids = [str(item.get(name)) for item in body.get("input", []) for name in ("id", "call_id")]
        found = [re.fullmatch(r"[a-z]+_(\d+)_\d+", id_) for id_ in ids]
        return max([int(match[1]) for match in found if match], default=0) + 1


class _ByMessages:
    """A conversation of messages: each of the assistant's was one turn."""

    @staticmethod
    def conversation(body):
        """What was said so far."""
        return body.get("messages", [])

    @classmethod
    def user_texts(cls, body):
        """The text of every user message."""
        return [part["text"] for message in cls.conversation(body) if message["role"] == "user"
                for part in _parts(message["content"]) if part["type"] == "text"]

    @classmethod
    def turn(cls, body):
        """Which turn of the script comes next."""
        return 1 + sum(message["role"] == "assistant" for message in cls.conversation(body))


def _text_of(item):
    return "".join(part["text"] for part in item["content"])


def _summary_of(item):
    return "".join(part["text"] for part in item["summary"])


def _arguments_of(item):
    """Of a freeform tool's call, in its form as a function."""
    return item["arguments"] if "arguments" in item else json.dumps({"input": item["input"]})


def _id_of(item, turn, number):
    return item.get("call_id", f"call_{turn}_{number}")


class Chat(_ByMessages):
    """Chat Completions. A reasoning item is told as reasoning_content, and its opaque part as
    reasoning_details."""
    name = "chat"
    path = "/chat/completions"

    @classmethod
    def outputs(cls, body):
        """What the calls came to."""
        return {message["tool_call_id"]: message["content"] for message in cls.conversation(body)
                if message["role"] == "tool"}

    @staticmethod
    def _reason(entry):
        if entry.reason:
            return "length" if entry.reason == "max_output_tokens" else entry.reason
        calls = any(item["type"].endswith("_call") for item in entry.items)
        return "tool_calls" if calls else "stop"

    @staticmethod
    def _usage(entry, default):
        figures = entry.usage or default
        return {"prompt_tokens": figures["input_tokens"], "completion_tokens": figures["output_tokens"],
                "total_tokens": figures["input_tokens"] + figures["output_tokens"],
                "prompt_tokens_details": {"cached_tokens": figures["cached_input_tokens"]},
                "completion_tokens_details": {"reasoning_tokens": figures["reasoning_output_tokens"]}}

    @classmethod
    def _deltas(cls, items, turn):
        """Of a stream; the calls' arguments in pieces."""
        yield {"role": "assistant", "content": None}
        index = 0
        for number, item in enumerate(items, 1):
            if item["type"] == "reasoning":
                yield from ({"reasoning_content": piece} for piece in pieces(_summary_of(item)))
                yield {"reasoning_details": [{"type": "reasoning.encrypted",
                                              "data": item["encrypted_content"]}]}
            elif item["type"] == "message":
                yield from ({"content": piece} for piece in pieces(_text_of(item)))
            else:
                call = {"index": index, "id": _id_of(item, turn, number), "type": "function",
                        "function": {"name": item["name"], "arguments": ""}}
                yield {"tool_calls": [call]}
                for piece in pieces(_arguments_of(item)):
                    yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                index += 1

    @classmethod
    def events(cls, entry, turn, default_usage):
        """The chunks, encoded."""
        def chunk(**members):
            whole = {"id": f"chatcmpl-{turn}", "object": "chat.completion.chunk", "created": 1763920740,
                     "model": "scripted", **members}
            return f"data: {json.dumps(whole)}\n\n".encode()

        for delta in cls._deltas(entry.items, turn):
            yield chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        if entry.error:
            yield f"data: {json.dumps({'error': entry.error})}\n\n".encode()
            return
        if entry.end:
            yield chunk(choices=[{"index": 0, "delta": {}, "finish_reason": cls._reason(entry)}])
            yield chunk(choices=[], usage=cls._usage(entry, default_usage))
            yield b"data: [DONE]\n\n"

    @classmethod
    def whole(cls, entry, turn, default_usage):
        """The completion in one piece."""
        message = {"role": "assistant", "content": None}
        for number, item in enumerate(entry.items, 1):
            if item["type"] == "reasoning":
                message["reasoning_content"] = _summary_of(item)
            elif item["type"] == "message":
                message["content"] = _text_of(item)
            else:
                message.setdefault("tool_calls", []).append({
                    "id": _id_of(item, turn, number), "type": "function",
                    "function": {"name": item["name"], "arguments": _arguments_of(item)}})
        return {"id": f"chatcmpl-{turn}", "object": "chat.completion", "created": 1763920740, "model": "scripted", "usage": cls._usage(entry, default_usage),
                "choices": [{"index": 0, "message": message, "finish_reason": cls._reason(entry)}]}


class Messages(_ByMessages):
    """Anthropic's Messages API. A reasoning item is a thinking block with a signature, or a redacted one
    when it has no summary."""
    name = "messages"
    path = "/messages"

    @classmethod
    def outputs(cls, body):
        """What the calls came to."""
        return {block["tool_use_id"]: block.get("content", "") for message in cls.conversation(body)
                for block in _parts(message["content"]) if block["type"] == "tool_result"}

    @staticmethod
    def _reason(entry):
        if entry.reason:
            return "max_tokens" if entry.reason == "max_output_tokens" else entry.reason
        calls = any(item["type"].endswith("_call") for item in entry.items)
        return "tool_use" if calls else "end_turn"

    @staticmethod
    def _usage(entry, default):
        figures = entry.usage or default
        return {"input_tokens": figures["input_tokens"] - figures["cached_input_tokens"],
                "cache_read_input_tokens": figures["cached_input_tokens"],
                "cache_creation_input_tokens": 0, "output_tokens": figures["output_tokens"],
                "output_tokens_details": {"thinking_tokens": figures["reasoning_output_tokens"]}}

    @staticmethod
    def _block(item, turn, number):
        """A block as it begins, and its deltas."""
        if item["type"] == "message":
            return {"type": "text", "text": ""}, [
                {"type": "text_delta", "text": piece} for piece in pieces(_text_of(item))]
        if item["type"] == "reasoning" and not item["summary"]:
            return {"type": "redacted_thinking", "data": item["encrypted_content"]}, []
        if item["type"] == "reasoning":
            thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(_summary_of(item))]
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                *thoughts, {"type": "signature_delta", "signature": item["encrypted_content"]}]
        begin = {"type": "tool_use", "id": _id_of(item, turn, number), "name": item["name"], "input": {}}
        return begin, [{"type": "input_json_delta", "partial_json": piece}
                       for piece in ["", *pieces(_arguments_of(item))]]

    @classmethod
    def _told(cls, entry, turn, default_usage):
        usage = cls._usage(entry, default_usage)
        yield {"type": "message_start", "message": {
            "id": f"msg_{turn}", "type": "message", "role": "assistant", "content": [], "stop_reason": None,
            "usage": {**usage, "output_tokens": 1, "output_tokens_details": None}}}
        yield {"type": "ping"}
        for index, item in enumerate(entry.items):
            begin, deltas = cls._block(item, turn, index + 1)
            yield {"type": "content_block_start", "index": index, "content_block": begin}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        if entry.error:
            yield {"type": "error", "error": {"type": entry.error["code"], "message": entry.error["message"]}}
        elif entry.end:
            yield {"type": "message_delta", "delta": {"stop_reason": cls._reason(entry)}, "usage": usage}
            yield {"type": "message_stop"}

    @classmethod
    def events(cls, entry, turn, default_usage):
        """The events, encoded."""
        for event in cls._told(entry, turn, default_usage):
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    @classmethod
    def whole(cls, entry, turn, default_usage):
        """The message in one piece."""
        content = []
        for number, item in enumerate(entry.items, 1):
            block, deltas = cls._block(item, turn, number)
            for delta in deltas:
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        block[name] += delta[name]
            if block["type"] == "tool_use":
                block["input"] = json.loads(_arguments_of(item))
            content.append(block)
        return {"id": f"msg_{turn}", "type": "message", "role": "assistant", "content": content,
                "stop_reason": cls._reason(entry), "usage": cls._usage(entry, default_usage)}


WIRES = (Responses, Chat, Messages)


def wire_of(path):
    """The wire whose path ends PATH (without its parameters), or None."""
    return next((wire for wire in WIRES if path.partition("?")[0].endswith(wire.path)), None)

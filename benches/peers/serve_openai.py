"""A running `foretoken serve` as the `openai` package sees it: python serve_openai.py http://127.0.0.1:8080 MODEL"""

import sys

import openai

base, model = sys.argv[1:3]
client = openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0)

assert model in [m.id for m in client.models.list().data]
assert client.models.retrieve(model).id == model

ask = dict(model=model, prompt="Once upon a time", max_tokens=24, seed=7, temperature=0.8)
whole = client.completions.create(**ask, logprobs=3)
choice = whole.choices[0]
assert whole.usage.completion_tokens == len(choice.logprobs.tokens) <= 24
before = ""
for token, offset in zip(choice.logprobs.tokens, choice.logprobs.text_offset):
    # Half a character shows itself with the token after it.
    if not token.startswith("bytes:") and not before.startswith("bytes:"):
        assert choice.text[offset:].startswith(token), (token, choice.text)
    before = token
assert client.completions.create(**ask).choices[0].text == choice.text

parts = list(client.completions.create(**ask, logprobs=3, stream=True, stream_options={"include_usage": True}))
assert parts[-1].usage == whole.usage or parts[-1].usage.completion_tokens == whole.usage.completion_tokens
texts = [part.choices[0] for part in parts if part.choices]
assert "".join(text.text for text in texts) == choice.text
assert [t for text in texts for t in text.logprobs.tokens] == choice.logprobs.tokens
assert texts[-1].finish_reason == choice.finish_reason

several = client.completions.create(model=model, prompt=["One", "Two"], n=2, max_tokens=4, seed=1)
assert [c.index for c in several.choices] == [0, 1, 2, 3]
alone = client.completions.create(model=model, prompt="Two", n=2, max_tokens=4, seed=1)
assert [c.text for c in several.choices[2:]] == [c.text for c in alone.choices]
best = client.completions.create(model=model, prompt="One", best_of=4, n=1, max_tokens=4, seed=1)
assert len(best.choices) == 1

scored = client.completions.create(
    model=model, prompt=[[1, 2, 3], [4, 5, 6, 7]], max_tokens=1, logprobs=1, echo=True, temperature=0
)
for c, n in zip(scored.choices, (4, 5)):
    assert len(c.logprobs.token_logprobs) == len(c.logprobs.top_logprobs) == n
    assert c.logprobs.token_logprobs[0] is None
    for logprob, top in zip(c.logprobs.token_logprobs[1:], c.logprobs.top_logprobs[1:]):
        assert logprob <= max(top.values())

messages = [{"role": "system", "content": "Short."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
chat = client.chat.completions.create(
    model=model, messages=messages, max_tokens=8, seed=3, logprobs=True, top_logprobs=2
)
message = chat.choices[0]
assert message.message.role == "assistant" and len(message.logprobs.content[0].top_logprobs) == 2
stream = client.chat.completions.create(model=model, messages=messages, max_tokens=8, seed=3, stream=True)
deltas = [part.choices[0].delta for part in stream]
assert deltas[0].role == "assistant" and "".join(d.content or "" for d in deltas) == message.message.content

answer = client.chat.completions.create(
    model=model,
    messages=messages,
    max_tokens=200,
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "boolean"}},
                                                "required": ["a"], "additionalProperties": False}},
    },
)
import json

assert isinstance(json.loads(answer.choices[0].message.content)["a"], bool)


def refused(kind, param, **arguments):
    try:
        client.completions.create(**{"model": model, "prompt": "a", **arguments})
    except kind as error:
        assert error.body["param"] == param, error.body
        assert error.body["message"], error.body
    else:
        raise AssertionError(arguments)


refused(openai.NotFoundError, "model", model="none")
refused(openai.BadRequestError, "n", n=1_000_000)
refused(openai.BadRequestError, "max_tokens", max_tokens=-1)
refused(openai.BadRequestError, "max_tokens", max_tokens=1 << 40)
refused(openai.BadRequestError, "prompt", prompt=[])
refused(openai.BadRequestError, "prompt[0]", prompt=[-1])
refused(openai.BadRequestError, "prompt", prompt="word " * 5000)
refused(openai.BadRequestError, "temperature", temperature=-0.5)
with client.completions.create(model=model, prompt="a", max_tokens=900, stream=True) as stream:
    for _, _ in zip(range(3), stream):
        pass
print("all as expected")

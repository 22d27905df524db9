"""Write a tiny llama model that behaves like an agent: tiny_model.py OUT.gguf.

Its weights are random but for three attention heads, each of which notices whether one
token is in the prompt: tools are offered, a call was made, a result has come. From that
it calls a tool first, ends its turn after a call, and answers a result with words.
Without tools it says words. llama.cpp's grammar makes its calls follow their schemas.
"""

import sys

import gguf
import numpy as np


WIDTH, HEADS, LAYERS, INNER, CONTEXT = 64, 4, 2, 128, 32768
HEAD = WIDTH // HEADS
WORDS = (
    "the a of and to in is it you that he was for on are with as his they be at one have"
    " this from or had by hot but some what there we can out other were all your when up"
    " use word how said an each she which do their time if will way about many then them"
    " would write like so these her long make thing see him two has look more day could"
    " go come did my no most who over know water than call first people may down side"
    " been now find"
).split()
TEMPLATE = """
{%- if tools -%}
{{- '<|im_start|>system\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' -}}{{- tool | tojson -}}{%- endfor -%}
{{- '\\n</tools><|im_end|>\\n' -}}
{%- endif -%}
{%- for m in messages -%}
{%- if m.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' -}}{{- m.content -}}
{{- '\\n</tool_response><|im_end|>\\n' -}}
{%- else -%}
{{- '<|im_start|>' -}}{{- m.role -}}{{- '\\n' -}}
{%- if m.content -%}{{- m.content -}}{%- endif -%}
{%- if m.tool_calls -%}
{%- for call in m.tool_calls -%}
{%- if call.function -%}{%- set call = call.function -%}{%- endif -%}
{{- '<tool_call>{"name": "' -}}{{- call.name -}}{{- '", "arguments": ' -}}
{{- call.arguments | tojson -}}{{- '}</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


class Vocabulary:
    """Tokens with their scores and kinds."""

    def __init__(self) -> None:
        self.tokens, self.scores, self.kinds = [], [], []

    def add(self, token: str, score: float, kind: gguf.TokenType) -> int:
        self.tokens.append(token.encode())
        self.scores.append(score)
        self.kinds.append(kind)
        return len(self.tokens) - 1


def vocabulary() -> tuple[Vocabulary, dict[str, int]]:
    kinds, vocab, at = gguf.TokenType, Vocabulary(), {}
    vocab.add("<unk>", 0.0, kinds.UNKNOWN)
    vocab.add("<s>", 0.0, kinds.CONTROL)
    vocab.add("</s>", 0.0, kinds.CONTROL)
    for byte in range(256):
        vocab.add(f"<0x{byte:02X}>", 0.0, kinds.BYTE)
    at["letters"] = vocab.add("\u2581", -1.0, kinds.NORMAL)
    for code in range(33, 127):
        vocab.add(chr(code), -2.0, kinds.NORMAL)
    vocab.add("\n", -2.0, kinds.NORMAL)
    at["words"] = len(vocab.tokens)
    for n, word in enumerate(WORDS):
        vocab.add("\u2581" + word, -0.1 - n * 0.01, kinds.NORMAL)
    at["start"] = vocab.add("<|im_start|>", 0.0, kinds.CONTROL)
    at["end"] = vocab.add("<|im_end|>", 0.0, kinds.CONTROL)
    for name in ("tools", "tool_call", "/tool_call", "tool_response"):
        at[name] = vocab.add(f"<{name}>", 0.0, kinds.USER_DEFINED)
    return vocab, at


def weights(size: int, at: dict[str, int]) -> dict[str, np.ndarray]:
    """All tensors; dimension 0 is a constant, 1 to 3 say which marks were seen."""
    rng = np.random.default_rng(0)

    def noise(*shape: int, scale: float) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    marks = {1: at["tools"], 2: at["tool_call"], 3: at["tool_response"]}
    read, write = noise(size, WIDTH, scale=0.3), noise(size, WIDTH, scale=0.25)
    read[:, 0], read[:, 1:4] = 4.0, 0.0
    for dimension, token in marks.items():
        read[token, dimension] = 4.0
    write[:, 0], write[:, 1:4] = -3.0, 0.0
    write[at["letters"] : at["words"], 0] = 1.0
    write[at["words"] : at["start"], 0] = 2.0
    write[at["end"], :4] = [
        1.9,
        0.0,
        6.0,
        -6.0,
    ]  # ends after a call, not after a result
    write[at["tool_call"]] = 0
    write[at["tool_call"], :4] = [
        -3,
        8,
        -14,
        -14,
    ]  # calls when offered and none was made
    write[at["letters"] + 2, 2:4] = [1.8, -1.8]  # closes quotes early in a call
    found = {
        "token_embd": read,
        "output_norm": np.ones(WIDTH, np.float32),
        "output": write,
    }
    for layer in range(LAYERS):
        q, k, v, o = (noise(WIDTH, WIDTH, scale=0.1) for _ in range(4))
        up, gate = (noise(INNER, WIDTH, scale=0.1) for _ in range(2))
        down = noise(WIDTH, INNER, scale=0.1)
        o[:4, :] = down[:4, :] = 0
        if layer == 0:
            for head, dimension in enumerate(marks):
                rows = slice(head * HEAD, (head + 1) * HEAD)
                q[rows] = k[rows] = v[rows] = 0
                o[:, rows] = 0
                slow = head * HEAD + HEAD - 2  # this pair hardly rotates with distance
                q[slow, 0] = k[slow, dimension] = 2.0
                v[head * HEAD, dimension] = o[dimension, head * HEAD] = 1.0
        made = {"attn_q": q, "attn_k": k, "attn_v": v, "attn_output": o}
        made |= {"ffn_up": up, "ffn_gate": gate, "ffn_down": down}
        made |= {name: np.ones(WIDTH, np.float32) for name in ("attn_norm", "ffn_norm")}
        found |= {f"blk.{layer}.{name}": tensor for name, tensor in made.items()}
    return found


def main(path: str) -> None:
    vocab, at = vocabulary()
    out = gguf.GGUFWriter(path, "llama")
    out.add_name("tiny")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(HEAD)
    out.add_rope_freq_base(1e6)
    out.add_vocab_size(len(vocab.tokens))
    out.add_file_type(0)
    out.add_tokenizer_model("llama")
    out.add_token_list(vocab.tokens)
    out.add_token_scores(vocab.scores)
    out.add_token_types(vocab.kinds)
    out.add_bos_token_id(1)
    out.add_eos_token_id(at["end"])
    out.add_unk_token_id(0)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(False)
    out.add_chat_template(TEMPLATE)
    for name, tensor in weights(len(vocab.tokens), at).items():
        out.add_tensor(f"{name}.weight", tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    main(sys.argv[1])

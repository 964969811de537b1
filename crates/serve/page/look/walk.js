// What the steps of the walk do, in the page's language. The server says it in English; what it says anew stands as it comes.

import { language } from "../lib/words.js";

/** By part and name, as the server has them. */
const KO = {
  "token_embedding ids": "토크나이저가 글에 매긴 번호",
  "token_embedding wte[ids]": "토큰마다 임베딩 표에서 한 줄씩 가져와요",
  "token_embedding x": "토큰마다 임베딩 표에서 한 줄씩 가져와요. 스트림이 여기서 시작돼요",
  "position_embedding + wpe = x": "위치마다 한 줄씩 더해요. 스트림이 여기서 시작돼요",
  "norm ln_1": "토큰마다 평균 0, 분산 1로 맞추고 크기(gain)와 bias를 줘요",
  "norm ln_2": "움직인 x에 ln_1과 같은 일을 해요",
  "norm ln_f": "마지막 블록 뒤에서 ln_1과 같은 일을 해요",
  "norm input_norm": "토큰마다 제곱평균을 1로 맞추고 크기(gain)를 줘요",
  "norm post_norm": "움직인 x에 input_norm과 같은 일을 해요",
  "norm norm": "마지막 블록 뒤에서 input_norm과 같은 일을 해요",
  "attention c_attn": "모든 헤드의 query, key, value를 한 번에 만들어요",
  "attention q, k, v": "query, key, value를 헤드마다 dh 칸씩 나눠 봐요",
  "attention rope q": "query를 위치만큼 돌려요",
  "attention rope k": "key도 돌려요. 그래서 둘이 만나면 거리가 남아요",
  "attention scores": "q kᵀ / √dh: query와 key가 얼마나 잘 맞는지",
  "attention softmax": "합이 1인 가중치로 바꿔요. 뒤에 오는 key는 0이에요",
  "attention weights v": "그 가중치로 value를 평균 내요",
  "attention heads": "헤드들을 나란히 이어 다시 너비 d로",
  "attention c_proj": "헤드들이 찾은 것을 섞어요",
  "attention o_proj": "헤드들이 찾은 것을 섞어요",
  "attention + x": "지름길(shortcut): 어텐션이 x를 한 걸음 옮겨요",
  "mlp c_fc": "토큰마다 따로, 너비 f로 넓혀요",
  "mlp gate_proj": "토큰마다 따로, 너비 f로 넓혀요",
  "mlp up_proj": "한 번 더 넓혀요",
  "mlp gelu": "양수는 지나가고 나머지는 거의 막혀요",
  "mlp silu(gate) up": "앞의 것이 뒤의 것을 열고 닫아요",
  "mlp c_proj": "다시 너비 d로 줄여요",
  "mlp down_proj": "다시 너비 d로 줄여요",
  "mlp + x": "다시 지름길: 다음 블록의 x가 돼요",
  "head logits": "x를 head와 곱해요. 사전에 있는 모든 토큰이 점수를 받아요",
  "head loss": "실제로 온 토큰과의 교차 엔트로피",
};

/** Items of memory and parts of a model. */
const KO_NAMES = {
  weights: "가중치",
  gradients: "그래디언트",
  "gradients waiting": "합칠 차례를 기다리는 그래디언트",
  activations: "활성값 (backward용)",
  "working memory": "작업 메모리",
  batch: "배치",
  "kernels' scratch": "커널 임시 공간",
  "key/value cache": "KV 캐시",
  logits: "로짓",
  token_embedding: "토큰 임베딩",
  position_embedding: "위치 임베딩",
  attention: "어텐션",
  mlp: "MLP",
  norm: "정규화",
  head: "출력 head",
};
const EN_NAMES = { token_embedding: "token embedding", position_embedding: "position embedding", mlp: "MLP", norm: "norms" };

/**
 * What a step does.
 * @param {{part: string, name: string, what: string}} step
 * @returns {string}
 */
export function explained({ part, name, what }) {
  return (language() === "ko" && KO[`${part} ${name}`]) || what;
}

/**
 * An item of memory, or a part of a model.
 * @param {string} name
 * @returns {string}
 */
export function namedPart(name) {
  return (language() === "ko" ? KO_NAMES : EN_NAMES)[name] ?? name;
}

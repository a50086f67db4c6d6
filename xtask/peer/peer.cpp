// What llama.cpp executes for one token on one thread, for `cargo xtask instructions`.
//
// usage: peer MODEL PROMPT_TOKENS TOKENS [repack] [flash]
//
// Evaluates a prompt of arbitrary tokens, then decodes TOKENS tokens, taking the likeliest each time and not stopping at
// an end. Prints the last token, so that no part of the work can be left out.
#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

static int fail(const char * what) {
    std::fprintf(stderr, "peer: %s\n", what);
    return 1;
}

static bool asked(int argc, char ** argv, const char * word) {
    return std::any_of(argv + 4, argv + argc, [=](const char * given) { return std::strcmp(given, word) == 0; });
}

int main(int argc, char ** argv) {
    if (argc < 4) {
        return fail("usage: peer MODEL PROMPT_TOKENS TOKENS [repack] [flash]");
    }
    const int prompt_tokens = std::max(1, std::atoi(argv[2]));
    const int tokens = std::max(0, std::atoi(argv[3]));
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);

    llama_model_params model_params = llama_model_default_params();
    model_params.use_extra_bufts = asked(argc, argv, "repack");
    llama_model * model = llama_model_load_from_file(argv[1], model_params);
    if (model == nullptr) {
        return fail("the model cannot be loaded");
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx = prompt_tokens + tokens;
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = 1;
    params.no_perf = true;
    params.flash_attn_type =
        asked(argc, argv, "flash") ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (context == nullptr) {
        return fail("no context for the model");
    }
    const int size = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::vector<llama_token> batch(prompt_tokens);
    for (int i = 0; i < prompt_tokens; i++) {
        batch[i] = static_cast<llama_token>(static_cast<unsigned>(i) * 7919u % static_cast<unsigned>(size));
    }
    for (int i = 0; i <= tokens; i++) {
        if (llama_decode(context, llama_batch_get_one(batch.data(), static_cast<int>(batch.size()))) != 0) {
            return fail("the tokens cannot be evaluated");
        }
        const float * logits = llama_get_logits_ith(context, -1);
        batch.assign(1, static_cast<llama_token>(std::max_element(logits, logits + size) - logits));
    }
    std::printf("%d\n", batch[0]);
    llama_free(context);
    llama_model_free(model);
    return 0;
}

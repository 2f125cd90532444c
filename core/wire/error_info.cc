// SPDX-License-Identifier: Apache-2.0
// Packed errors of tasks: one msgpack array that opens with what the broker looks at.
#include <algorithm>
#include <utility>

#include "core/wire/codec.h"
#include "core/wire/fields.h"

namespace forkmill::wire {

namespace {

/// Worst case: every text of kTextMax, 16 nested pairs of them, detail; anything larger is no error
/// of ours.
constexpr std::size_t kPackedMax = (5 + 2 * kNestedMax) * kTextMax + kDetailMax + 4096;

constexpr std::string_view kCutMark = "… (cut)";

template <class V>
void describe(V& v, Described<V, ErrorInfo> e) {
    v(e.code);
    v(e.no_retry);
    v.optional();
    v.bounded(e.ran, Ran::No, Ran::Yes);
    v.text(e.type, kTextMax);
    v.text(e.what, kTextMax);
    v.text(e.host, kTextMax);
    v(e.pid);
    v.text(e.task, kTextMax);
    v(e.attempt);
    v(e.number);
    v.text(e.cause, kTextMax);
    v.records(e.nested, kNestedMax, 2, [](auto& n, auto& pair) {
        n.text(pair.first, kTextMax);
        n.text(pair.second, kTextMax);
    });
    v.text(e.detail, kDetailMax);
}

base::ByteView head_of(const base::Body& packed) {
    if (!packed.chunks) return packed.view;
    return packed.chunks->empty() ? base::ByteView{} : packed.chunks->front().view();
}

}  // namespace

std::vector<std::byte> pack_error(const ErrorInfo& info) {
    Writer out;
    const std::size_t head = out.put_open_array();
    FieldWriter fields{out};
    if (info.nested.size() > kNestedMax || info.what.size() > kTextMax) {
        ErrorInfo cut = info;
        if (cut.nested.size() > kNestedMax) cut.nested.resize(kNestedMax);
        if (cut.what.size() > kTextMax)
            cut.what =
                std::string{cut_text(info.what, kTextMax - kCutMark.size())}.append(kCutMark);
        describe(fields, std::as_const(cut));
    } else {
        describe(fields, info);
    }
    out.patch_array(head, fields.count());
    const base::ByteView bytes = out.view();
    return {bytes.begin(), bytes.end()};
}

base::Result<ErrorInfo> unpack_error(base::ByteView packed) {
    if (packed.size() > kPackedMax)
        return base::Failure{"a packed error is larger than any can be"};
    Cursor cursor{packed};
    cursor.open_fields();
    FieldReader fields{cursor};
    ErrorInfo info;
    describe(fields, info);
    const Code code = cursor.finish();
    if (code == Code::None) return info;
    return base::Failure{"no packed error: " + std::string{name_of(code)} + " at byte " +
                         std::to_string(cursor.offset())};
}

bool peek_error(const base::Body& packed, Code& code, bool& no_retry) {
    Cursor cursor{head_of(packed)};
    std::uint32_t number = 0;
    bool final_error = false;
    if (!cursor.open_fields() || cursor.fields_left() < 2) return false;
    if (!cursor.read_uint32(number) || number > 0xffff || !cursor.read_bool(final_error))
        return false;
    code = static_cast<Code>(number);
    no_retry = final_error;
    return true;
}

}  // namespace forkmill::wire

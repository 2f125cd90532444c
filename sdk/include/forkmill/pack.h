// SPDX-License-Identifier: Apache-2.0
// Codec for types with MSGPACK_DEFINE: include it where such a type is used; it is the only public
// header that needs msgpack-cxx.
//
// Such a value travels as what msgpack-cxx makes of it, and its signature is its type's name:
// MSGPACK_DEFINE says nothing more. Unpacking is limited to what the bytes can hold; what
// msgpack-cxx throws arrives as PackError.
#pragma once

#include <msgpack.hpp>

#include <string>
#include <typeinfo>

#include "forkmill/codec.h"

namespace forkmill {
inline namespace v0 {

template <class T>
requires requires(const T& value, msgpack::packer<msgpack::sbuffer>& packer) {
    value.msgpack_pack(packer);
}
struct Codec<T> {
    static std::string signature() { return std::string{"msgpack:"} + typeid(T).name(); }
    static void encode(Packer& packer, const T& value) {
        msgpack::sbuffer buffer;
        msgpack::pack(buffer, value);
        packer.binary(buffer.data(), buffer.size());
    }
    static void decode(Unpacker& unpacker, T& value) {
        const detail::Bytes bytes = unpacker.binary();
        const std::size_t size = bytes.size();
        try {
            const msgpack::unpack_limit limit{size, size, size, size, size, 64};
            std::size_t end = 0;
            const msgpack::object_handle handle = msgpack::unpack(
                reinterpret_cast<const char*>(bytes.data()), size, end, nullptr, nullptr, limit);
            if (end != size)
                throw PackError("expected one msgpack value, got " + std::to_string(size - end) +
                                " more bytes");
            handle.get().convert(value);
        } catch (const PackError&) {
            throw;
        } catch (const std::exception& error) {
            throw PackError(std::string{"expected "} + signature() + ": " + error.what());
        }
    }
};

}  // namespace v0
}  // namespace forkmill

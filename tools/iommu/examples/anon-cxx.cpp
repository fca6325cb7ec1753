// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The same as anon.c in C++: handles close themselves, in the right order.
 *
 *	anon-cxx 0000:01:00.0
 *
 * Exit status: 0 all bytes are right, 1 they are not, 2 something failed.
 *
 * Copyright (C) 2026 The linux-iopf authors
 */
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>

#include "endpoint.h"

namespace
{
const __u64 iova = 0x100000000ULL;
const __u32 length = 0x10000;
const __u32 seed = 0x12345678;

int must(int ret)
{
	if (ret < 0)
		throw std::runtime_error(iopf_error());
	return ret;
}

template <class Handle, void (*close)(Handle *)> struct Closer {
	void operator()(Handle *handle) const { close(handle); }
};

template <class Handle, void (*close)(Handle *)>
using Owned = std::unique_ptr<Handle, Closer<Handle, close>>;

using ContextPtr = Owned<iopf_ctx, iopf_ctx_close>;
using DevicePtr = Owned<iopf_dev, iopf_dev_close>;
using QueuePtr = Owned<iopf_queue, iopf_queue_close>;
using BackingPtr = Owned<iopf_backing, iopf_backing_close>;

/* An address space or a page table: an id instead of a handle */
struct Object {
	iopf_ctx *ctx;
	__u32 id;

	explicit Object(iopf_ctx *c) : ctx(c), id(0) {}
	Object(const Object &) = delete;
	~Object()
	{
		if (id)
			iopf_destroy(ctx, id);
	}
};

struct Attached {
	iopf_dev *dev;

	Attached(iopf_dev *d, __u32 hwpt) : dev(d)
	{
		must(iopf_dev_attach(dev, hwpt));
	}
	Attached(const Attached &) = delete;
	~Attached() { iopf_dev_detach(dev); }
};

/* Opens a handle by a call whose last argument is where to put it. */
template <class Owner, class Open, class... Args>
Owner make(Open open, Args... args)
{
	typename Owner::pointer handle = nullptr;

	must(open(args..., &handle));
	return Owner(handle);
}

int run(const char *bdf)
{
	ContextPtr ctx = make<ContextPtr>(iopf_ctx_open);
	DevicePtr dev = make<DevicePtr>(iopf_dev_open, ctx.get(), bdf);
	QueuePtr queue = make<QueuePtr>(iopf_queue_open, ctx.get());
	Object ioas(ctx.get()), hwpt(ctx.get());

	must(iopf_ioas_alloc(ctx.get(), &ioas.id));
	must(iopf_hwpt_alloc(ctx.get(), iopf_dev_id(dev.get()), ioas.id,
			     queue.get(), &hwpt.id));
	BackingPtr backing = make<BackingPtr>(iopf_backing_anon, ctx.get(),
					      ioas.id, iova, length, IOPF_RW, 0);
	Attached attached(dev.get(), hwpt.id);

	endpoint ep;
	must(endpoint_open(dev.get(), &ep));
	endpoint_start(&ep, ENDPOINT_FILL, iova, length, seed);
	while (!endpoint_status(&ep)) {
		iopf_group group;
		iopf_served served;

		if (!must(iopf_queue_wait(queue.get(), 10)) ||
		    !must(iopf_queue_read(queue.get(), &group)))
			continue;
		must(iopf_backing_serve(backing.get(), &group, &served));
		must(iopf_queue_answer(queue.get(), group.cookie, served.code));
	}
	auto *mem = static_cast<const unsigned char *>(
		iopf_backing_ptr(backing.get(), iova));
	bool right = endpoint_status(&ep) == ENDPOINT_OK;
	for (__u32 i = 0; i < length; i++)
		right = right && mem[i] == endpoint_byte(seed, i);
	endpoint_close(&ep);
	std::puts(right ? "all bytes are right" : "wrong data");
	return right ? 0 : 1;
}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		std::fputs("usage: anon-cxx PCI-ADDRESS\n", stderr);
		return 2;
	}
	try {
		return run(argv[1]);
	} catch (const std::exception &failure) {
		std::fprintf(stderr, "anon-cxx: %s\n", failure.what());
		return 2;
	}
}

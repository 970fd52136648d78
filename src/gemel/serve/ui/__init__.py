"""The window: pages in the browser that live on the public API alone. No build step: what stands here is what runs."""

import torch

from limbeck.losses._products import exact_product, scalar_products


def test_is_the_product_and_so_is_its_gradient():
    one, other = torch.randn(2, 3, 4).double(), torch.randn(2, 4, 5).double()
    torch.testing.assert_close(exact_product(one, other), one @ other)
    both = one.requires_grad_(), other.requires_grad_()
    assert torch.autograd.gradcheck(exact_product, both)
    assert torch.autograd.gradgradcheck(exact_product, both)


def test_scalar_products_are_of_all_pairs_of_rows():
    one, other = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    torch.testing.assert_close(
        scalar_products(one, other), (one[:, :, None] * other[:, None]).sum(-1)
    )


def test_autocast_takes_nothing_forwards_or_backwards():
    one = torch.randn(6, 5, requires_grad=True)
    other = torch.randn(5, 6, requires_grad=True)
    exact = (one @ other).square().sum()
    want = torch.autograd.grad(exact, (one, other))
    with torch.autocast("cpu", torch.bfloat16):
        value = exact_product(one, other).square().sum()
        found = torch.autograd.grad(value, (one, other))
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(found, want)


def test_a_side_that_wants_no_gradient_gets_none():
    one, other = torch.randn(3, 4, requires_grad=True), torch.randn(4, 3)
    exact_product(one, other).sum().backward()
    assert one.grad is not None
    assert other.grad is None
